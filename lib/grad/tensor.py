"""The tensor engine: NumPy arrays that remember how they were made.

A `Tensor` is to an array what `lib.grad.scalar.Value` is to a number. Instead of a closure, each tensor keeps the name
of its operation, and `backward` looks the derivatives up in the table `lib.grad.rules.RULES`. `lib.grad.memory` sees to
it that the arrays which the derivatives need have not changed in between.

Source: the design of torch.autograd, A. Paszke et al. (2019), "PyTorch", sections 4.3 and 5.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from lib.grad.memory import Memory
from lib.grad.rules import RULES
from lib.grad.scalar import topological_order

_recording: ContextVar[bool] = ContextVar("recording", default=True)


class no_grad(contextlib.ContextDecorator):
    """`with no_grad():` computes without remembering, for evaluation; results do not require a gradient."""

    def __enter__(self):
        self._outside = _recording.set(False)

    def __exit__(self, *exception):
        _recording.reset(self._outside)


class Tensor:
    """An array of floats that can be differentiated: `data`, its gradient `grad`, and how it was made.

    `Tensor(data)` copies `data`, a NumPy array or nested lists of floats, and keeps its dtype, float32 or float64;
    `dtype` converts. Set `requires_grad=True` on what should be learned. Arrays and numbers in a formula are constants,
    and take the dtype of the tensor that they meet.
    Raises TypeError for data that are not floats, and where float32 and float64 tensors meet.
    """

    __slots__ = ("_array", "_memory", "_op", "_options", "_prev", "_versions", "grad", "requires_grad")
    __array_ufunc__ = None  # array + tensor is left to Tensor.__radd__

    def __init__(self, data, requires_grad: bool = False, dtype: DTypeLike | None = None):
        if isinstance(data, Tensor):
            raise TypeError("Tensor: the data is a Tensor already; use it, or its .detach() for one without history")
        array = np.array(data, dtype=dtype)
        if array.dtype not in (np.float32, np.float64):
            raise TypeError(
                f"Tensor: the data must be float32 or float64, got {array.dtype}. Convert it: "
                "Tensor(data, dtype=np.float64). Class labels and indices stay NumPy integer arrays"
            )
        self._start(array, Memory(array), requires_grad)

    def _start(self, array: np.ndarray, memory: Memory, requires_grad: bool) -> None:
        self._array = array
        self._memory = memory
        self.requires_grad = requires_grad
        self.grad: np.ndarray | None = None
        self._op = ""
        self._prev: tuple[Tensor, ...] = ()
        self._options: dict[str, Any] = {}
        self._versions: dict[str, int] = {}  # the version of each array that backward needs, by its name in the rule

    # --- what a tensor is ---------------------------------------------------------------------------------------------

    @property
    def data(self) -> np.ndarray:
        """The array itself. Assigning to it, or to a part of it, changes the tensor in place; shape and dtype stay."""
        self._memory.exposed = True
        self._memory.current_version()  # takes the copy now, before the caller can change anything
        return self._array

    @data.setter
    def data(self, value) -> None:
        value = np.asarray(value)
        if value.shape != self.shape:
            raise ValueError(f"data: {value.shape} cannot take the place of {self.shape}; make a new Tensor")
        if value is not self._array:
            np.copyto(self._array, value, casting="same_kind")
        self._memory.version += 1

    def add_(self, change: np.ndarray) -> None:
        """Add `change`, an array, to the data in place: the step of an optimizer."""
        self._array += change
        self._memory.version += 1

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def ndim(self) -> int:
        return self._array.ndim

    @property
    def size(self) -> int:
        return self._array.size

    @property
    def dtype(self) -> np.dtype:
        return self._array.dtype

    def item(self) -> float:
        """The number in a tensor that holds one."""
        return self._array.item()

    def detach(self) -> Tensor:
        """The same data without history; it shares memory with this tensor."""
        return _result(self._array, (self,))

    def __len__(self) -> int:
        return len(self._array)

    def __repr__(self) -> str:
        array = np.array2string(self._array, precision=4, separator=", ", prefix="Tensor(")
        notes = ["requires_grad=True"] if self.requires_grad else []
        if self.dtype != np.float64:
            notes.append(f"dtype={self.dtype}")
        return f"Tensor({', '.join([array, *notes])})"

    def __array__(self, *args, **kwargs):
        raise TypeError("a Tensor is not an array: write t.data for the numbers (NumPy does not track gradients)")

    # --- operations ---------------------------------------------------------------------------------------------------

    def __add__(self, other) -> Tensor:
        return apply("add", self, other)

    def __sub__(self, other) -> Tensor:
        return apply("sub", self, other)

    def __mul__(self, other) -> Tensor:
        return apply("mul", self, other)

    def __truediv__(self, other) -> Tensor:
        return apply("div", self, other)

    def __pow__(self, other) -> Tensor:
        return apply("pow", self, other)

    def __rsub__(self, other) -> Tensor:
        return apply("sub", other, self)

    def __rtruediv__(self, other) -> Tensor:
        return apply("div", other, self)

    def __rpow__(self, other) -> Tensor:
        return apply("pow", other, self)

    __radd__, __rmul__ = __add__, __mul__

    def __matmul__(self, other) -> Tensor:
        return apply("matmul", self, other)

    def __rmatmul__(self, other) -> Tensor:
        return apply("matmul", other, self)

    def __neg__(self) -> Tensor:
        return apply("neg", self)

    def exp(self) -> Tensor:
        return apply("exp", self)

    def log(self) -> Tensor:
        return apply("log", self)

    def tanh(self) -> Tensor:
        return apply("tanh", self)

    def sigmoid(self) -> Tensor:
        return apply("sigmoid", self)

    def relu(self) -> Tensor:
        return apply("relu", self)

    def gelu(self) -> Tensor:
        """x P(Z <= x) for a standard normal Z. Source: D. Hendrycks, K. Gimpel (2016), "GELUs", section 2."""
        return apply("gelu", self)

    def sum(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        return apply("sum", self, axis=axis, keepdims=keepdims)

    def mean(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        return apply("mean", self, axis=axis, keepdims=keepdims)

    def max(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        """The largest entry along `axis`. Entries that share the maximum share its gradient equally."""
        return apply("max", self, axis=axis, keepdims=keepdims)

    def reshape(self, *shape) -> Tensor:
        """The same entries in another shape, given as numbers or as one tuple; a size of -1 means the rest."""
        return apply("reshape", self, shape=shape[0] if shape and isinstance(shape[0], tuple) else shape)

    def permute(self, *axes: int) -> Tensor:
        """The axes in another order: x.permute(0, 2, 1) has axis 2 of x as its axis 1."""
        return apply("transpose", self, axes=axes)

    def transpose(self, first: int, second: int) -> Tensor:
        """Two axes exchanged. Raises ValueError for an axis that is not there."""
        if not all(-self.ndim <= axis < self.ndim for axis in (first, second)):
            raise ValueError(
                f"transpose: {self.shape}: axes {first} and {second} must be from {-self.ndim} to {self.ndim - 1}"
            )
        axes = list(range(self.ndim))
        axes[first], axes[second] = axes[second], axes[first]
        return self.permute(*axes)

    @property
    def T(self) -> Tensor:
        """The last two axes exchanged: the transpose of a matrix."""
        return self.transpose(-1, -2)

    def __getitem__(self, index) -> Tensor:
        """A part of the tensor, indexed as in NumPy: integers, slices, None, integer arrays, boolean masks."""
        parts = index if isinstance(index, tuple) else (index,)
        copied = tuple(np.array(part) if isinstance(part, (list, np.ndarray)) else part for part in parts)
        return apply("getitem", self, index=copied)

    # --- backward -----------------------------------------------------------------------------------------------------

    def backward(self, gradient=None, retain_graph: bool = False) -> None:
        """Add d self / d leaf to the `grad` of every leaf that requires one.

        `gradient` is where to start when this tensor has more than one entry: the gradient of the loss with respect to
        it. The graph is freed on the way, as it holds every intermediate array; `retain_graph=True` keeps it.
        Raises RuntimeError when there is nothing to differentiate, when the graph was freed before, or when an array
        that the derivatives need has been changed since forward used it.
        """
        pending = {self: (self._first_gradient(gradient), False)}  # gradient so far; is the array ours to write to?
        for node in reversed(topological_order(self)):
            if node not in pending:
                continue
            g, ours = pending.pop(node)
            if node._op == "":
                if node.grad is None:
                    node.grad = g if ours else g.copy()
                else:
                    node.grad += g
                continue
            node._check_unchanged()
            for i, parent in enumerate(node._prev):
                if parent.requires_grad:
                    new = node._gradient_of(i, g)
                    if parent not in pending:
                        pending[parent] = new, new is not g and new.base is None
                    else:
                        old, ours = pending[parent]
                        pending[parent] = np.add(old, new, out=old if ours else None), True
            if not retain_graph:
                node._op, node._prev, node._options = FREED, (), {}

    def _first_gradient(self, gradient) -> np.ndarray:
        if not self.requires_grad:
            raise RuntimeError(
                "backward: nothing here requires a gradient. Make what you want to learn with requires_grad=True, "
                "and compute outside no_grad()"
            )
        if gradient is None:
            if self.size != 1:
                raise RuntimeError(
                    f"backward: a gradient starts from one number, and this tensor has shape {self.shape}. "
                    "Take .sum() or .mean() first, or give backward(gradient) of that shape"
                )
            return np.ones_like(self._array)
        gradient = np.asarray(gradient, dtype=self.dtype)
        if gradient.shape != self.shape:
            raise ValueError(f"backward: the gradient is {gradient.shape} and the tensor {self.shape}; make them equal")
        return gradient

    def _named(self, name: str) -> Tensor:
        """The tensor that the rule of this node calls `name`."""
        return self if name == "y" else self._prev[RULES[self._op].inputs.index(name)]

    def _check_unchanged(self) -> None:
        if self._op == FREED:
            raise RuntimeError(
                "backward: this graph has been freed by an earlier backward(). Compute the loss again, "
                "or call the first one as backward(retain_graph=True)"
            )
        for name, version in self._versions.items():
            tensor = self._named(name)
            if tensor._memory.current_version() != version:
                who = "the result" if name == "y" else f"the input {name}"
                raise RuntimeError(
                    f"backward: {who} of {self._op}, shape {tensor.shape}, was changed in place after {self._op} used "
                    "it, and the derivative needs the old numbers. Change it after backward(), or change a copy"
                )

    def _gradient_of(self, i: int, g: np.ndarray) -> np.ndarray:
        """The gradient with respect to input `i`, given `g` with respect to this tensor."""
        derivative, names = RULES[self._op].derivative(i)
        new = derivative(**{name: self._argument(name, i, g) for name in names})
        return unbroadcast(np.asarray(new, dtype=g.dtype), self._prev[i].shape)

    def _argument(self, name: str, i: int, g: np.ndarray):
        """What a derivative in the table means by `name`."""
        if name == "g":
            return g
        if name in self._options:
            return self._options[name]
        if name == "i":
            return i
        if name == "shapes":
            return [parent.shape for parent in self._prev]
        if name.endswith("_shape"):
            return self._named(name.removesuffix("_shape")).shape
        return self._named(name)._array


FREED = "freed"


def unbroadcast(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """`g` summed over every axis along which an array of `shape` was repeated by broadcasting."""
    if g.shape == shape:
        return g
    full = (1,) * (g.ndim - len(shape)) + shape
    return g.sum(tuple(i for i, n in enumerate(full) if n != g.shape[i])).reshape(shape)


def apply(op: str, *inputs, **options) -> Tensor:
    """The result of the operation `op` of the table `RULES`, which remembers its inputs when one requires a gradient.

    Raises ValueError or IndexError with the operation and the shapes of all inputs when they do not fit together.
    """
    rule = RULES[op]
    tensors = _as_tensors(op, inputs)
    try:
        y = np.asarray(rule.forward(*[t._array for t in tensors], **options), dtype=tensors[0].dtype)
    except (ValueError, IndexError) as error:
        shapes = " and ".join(str(t.shape) for t in tensors)
        kind = ValueError if isinstance(error, ValueError) else IndexError
        raise kind(f"{op}: {shapes}: {error}") from None
    out = _result(y, tensors)
    if _recording.get() and any(t.requires_grad for t in tensors):
        out.requires_grad = True
        out._op, out._prev, out._options = op, tensors, options
        for i, parent in enumerate(tensors):
            if parent.requires_grad:
                for name in rule.derivative(i)[1]:
                    if name == "y" or name in rule.inputs:
                        memory = out._named(name)._memory
                        memory.needed = True
                        out._versions[name] = memory.current_version()
    return out


def _result(array: np.ndarray, inputs: tuple[Tensor, ...]) -> Tensor:
    """A tensor around `array`, which may be a view of an input and then shares its `Memory`."""
    shared = array.base is not None or any(array is t._array for t in inputs)
    memory = next((t._memory for t in inputs if shared and np.may_share_memory(array, t._array)), None)
    out = Tensor.__new__(Tensor)
    out._start(array, memory or Memory(array), False)
    return out


def _as_tensors(op: str, inputs: tuple) -> tuple[Tensor, ...]:
    """The inputs as tensors of one dtype: that of the tensors among them, which constants take on."""
    if all(type(x) is Tensor for x in inputs):
        tensors = inputs
    else:
        dtype = next((x.dtype for x in inputs if isinstance(x, Tensor)), None)
        tensors = tuple(x if isinstance(x, Tensor) else _constant(op, x, dtype) for x in inputs)
    dtypes = {t.dtype for t in tensors}
    if len(dtypes) > 1:
        raise TypeError(f"{op}: float32 and float64 tensors do not mix; convert one: Tensor(t.data, dtype=np.float32)")
    return tensors


def _constant(op: str, x, dtype) -> Tensor:
    array = np.asarray(x)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{op}: expected a Tensor, an array or a number, got {type(x).__name__}")
    return Tensor(array, dtype=dtype)
