"""Say how two answers differ.

An answer is first frozen: arrays, tensors and engine values become NumPy copies that remember what they were, so that
a learner's buffer that changes later cannot change the verdict. Integers, Booleans and text must be identical; floats
agree within |got - want| <= atol + rtol |want|; NaN and infinity only where the reference has them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Frozen:
    """What an answer was when it came back. kind: array, number, text, none, sequence, mapping or other."""

    kind: str
    name: str  # how a learner would call the type: "NumPy array", "list", "torch tensor", ...
    value: Any  # np.ndarray, str, None, tuple of Frozen, dict of Frozen, or the object


@dataclass(frozen=True)
class Difference:
    """kind is a key of report texts: type, list, count, keys, shape, dtype, nan, value. `text` is a whole sentence."""

    kind: str
    text: str


@dataclass(frozen=True)
class Tolerance:
    rtol: float = 1e-6
    atol: float = 1e-8
    same_dtype: bool = False
    loose: bool = False  # only the numbers count: a list, another dtype or another kind of array is forgiven


def freeze(value: Any) -> Frozen:
    """A copy of `value` that later changes cannot reach."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        data = value.detach().cpu()
        data = data.float() if data.dtype == torch.bfloat16 else data
        return Frozen("array", "torch tensor", data.resolve_conj().resolve_neg().numpy().copy())
    if isinstance(value, np.ndarray):
        return Frozen("array" if value.ndim else "number", "NumPy array", value.copy())
    if isinstance(value, (bool, int, float, complex, np.generic)) and not isinstance(value, (str, bytes)):
        return Frozen("number", _number_name(value), _as_array(value))
    if isinstance(value, (str, bytes)):
        return Frozen("text", "string" if isinstance(value, str) else "bytes", value)
    if value is None:
        return Frozen("none", "None", None)
    if isinstance(value, (list, tuple)):
        return Frozen("sequence", "list" if isinstance(value, list) else "tuple", tuple(map(freeze, value)))
    if isinstance(value, dict):
        return Frozen("mapping", "dict", {k: freeze(v) for k, v in value.items()})
    if isinstance(value, (set, frozenset)):
        return Frozen("other", "set", frozenset(value))
    if hasattr(value, "data") and hasattr(value, "grad"):  # the course's own Value and Tensor
        return Frozen("array", f"{type(value).__name__} of the engine", np.array(value.data))
    return Frozen("other", type(value).__name__, value)


def _number_name(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "True or False"
    if isinstance(value, (int, np.integer)):
        return "whole number"
    return "complex number" if isinstance(value, (complex, np.complexfloating)) else "number"


def _as_array(value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except OverflowError:
        array = np.asarray(value, dtype=object)
    return array


def differ(got: Frozen, want: Frozen, tol: Tolerance, where: str = "") -> Difference | None:
    """The first way in which `got` is not `want`, or None where they agree."""
    at = f" ({where})" if where else ""
    if tol.loose:
        got, want = _numbers_only(got), _numbers_only(want)
    if want.kind == "sequence" and got.kind == "sequence":
        return _differ_sequence(got, want, tol, where)
    if want.kind == "mapping" and got.kind == "mapping":
        return _differ_mapping(got, want, tol, where)
    if want.kind in ("array", "number") and got.kind in ("array", "number"):
        wrapped = got.name != want.name and (_is_wrapped(got) or _is_wrapped(want))
        if wrapped and not tol.loose:
            return Difference("type", f"Your answer{at} is a {got.name}; a {want.name} is expected.")
        return _differ_arrays(got, want, tol, at)
    if want.kind in ("array", "number") and got.kind == "sequence":
        return _differ_list(got, want, at)
    if want.name == "list" and got.kind == "array" and (array := _numbers_only(want)).kind == "array":
        return _differ_arrays(got, array, tol, at)
    if want.name == "tuple":
        n = len(want.value)
        return Difference("count", f"Your answer{at} is {_a(got.name)}; a tuple of {_things(n)} is expected.")
    if got.kind != want.kind or got.name != want.name:
        return Difference("type", f"Your answer{at} is {_a(got.name)}; {_a(want.name)} is expected.")
    if want.kind == "text":
        return _differ_text(got, want, at)
    same = got.value is want.value or bool(got.value == want.value)
    return None if same else Difference("value", f"Your answer{at} is not the {want.name} that is expected.")


def _a(name: str) -> str:
    return name if name == "None" else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _is_wrapped(frozen: Frozen) -> bool:
    return frozen.name == "torch tensor" or frozen.name.endswith("of the engine")


def _is_numeric(frozen: Frozen) -> bool:
    if frozen.kind == "sequence":
        return all(_is_numeric(item) for item in frozen.value)
    return frozen.kind in ("array", "number")


def _numbers_only(frozen: Frozen) -> Frozen:
    """A list of numbers, at any depth, as the array it could be; anything else unchanged."""
    if frozen.kind != "sequence" or not frozen.value or not _is_numeric(frozen):
        return frozen
    parts = [_numbers_only(item) for item in frozen.value]
    if any(p.kind == "sequence" or p.value.shape != parts[0].value.shape for p in parts):
        return frozen
    return Frozen("array", "NumPy array", np.stack([p.value for p in parts]))


def _differ_sequence(got: Frozen, want: Frozen, tol: Tolerance, where: str) -> Difference | None:
    if len(got.value) != len(want.value):
        at = f" ({where})" if where else ""
        return Difference(
            "count", f"Your answer{at} has {_things(len(got.value))}; {_things(len(want.value))} are expected."
        )
    for i, (g, w) in enumerate(zip(got.value, want.value, strict=True)):
        difference = differ(g, w, tol, f"{where}[{i}]" if where else f"number {i + 1} of {len(want.value)}")
        if difference:
            return difference
    return None


def _things(n: int) -> str:
    return "1 element" if n == 1 else f"{n} elements"


def _differ_mapping(got: Frozen, want: Frozen, tol: Tolerance, where: str) -> Difference | None:
    missing = [k for k in want.value if k not in got.value]
    extra = [k for k in got.value if k not in want.value]
    if missing or extra:
        said = [f"lacks the key {k!r}" for k in missing[:1]] + [f"has the unexpected key {k!r}" for k in extra[:1]]
        return Difference("keys", f"Your dictionary {' and '.join(said)}.")
    for key, value in want.value.items():
        difference = differ(got.value[key], value, tol, f"under {key!r}")
        if difference:
            return difference
    return None


def _differ_list(got: Frozen, want: Frozen, at: str) -> Difference:
    if want.kind == "array" and got.name == "list":
        text = f"Your answer{at} is a Python list; a {want.name} is expected. Turn it into one before you return it."
        return Difference("list", text)
    if want.kind == "number":
        return Difference("count", f"Your answer{at} is {_a(got.name)} of {_things(len(got.value))}; one is expected.")
    text = f"Your answer{at} is {_a(got.name)} of {_things(len(got.value))}; a {want.name} is expected."
    return Difference("count" if got.name == "tuple" else "type", text)


def _differ_text(got: Frozen, want: Frozen, at: str) -> Difference | None:
    if got.value == want.value:
        return None
    same = next((i for i, (g, w) in enumerate(zip(got.value, want.value, strict=False)) if g != w), None)
    place = min(len(got.value), len(want.value)) if same is None else same
    return Difference("value", f"Your text{at} differs from the expected one from character {place} on.")


def _differ_arrays(got: Frozen, want: Frozen, tol: Tolerance, at: str) -> Difference | None:
    g, w = got.value, want.value
    if g.dtype == object and w.dtype != object:
        return Difference("type", f"Your answer{at} is an array of Python objects; an array of numbers is expected.")
    if g.shape != w.shape:
        expected = f"{w.shape} is expected" if w.ndim else "a single number, shape (), is expected"
        return Difference("shape", f"Your answer{at} has shape {g.shape}; {expected}.{_shape_remark(g, w)}")
    if not tol.loose:
        wrong = _differ_dtype(g, w, tol, at)
        if wrong:
            return wrong
    if not (_is_number(g) and _is_number(w)):
        return None if np.array_equal(g, w) else Difference("value", f"Your answer{at} has other elements.")
    if tol.loose and not _is_number(g):
        return Difference("type", f"Your answer{at} does not hold numbers.")
    return _differ_numbers(g, w, tol, at)


def _is_number(a: np.ndarray) -> bool:
    return a.dtype.kind in "biufc"


def _differ_dtype(g: np.ndarray, w: np.ndarray, tol: Tolerance, at: str) -> Difference | None:
    if g.dtype.kind == "c" and w.dtype.kind != "c":
        return Difference("dtype", f"Your answer{at} is complex; real numbers are expected.")
    if (w.dtype.kind == "b") != (g.dtype.kind == "b") and w.dtype.kind == "b":
        return Difference("dtype", f"Your answer{at} has dtype {g.dtype}; True and False (bool) are expected.")
    if tol.same_dtype and g.dtype != w.dtype:
        return Difference("dtype", f"Your answer{at} has dtype {g.dtype}; {w.dtype} is expected.")
    return None


def _differ_numbers(g: np.ndarray, w: np.ndarray, tol: Tolerance, at: str) -> Difference | None:
    if w.dtype.kind in "fc" and w.dtype.itemsize <= 4:
        tol = _single(tol)
    if g.dtype.kind in "biu" and w.dtype.kind in "biu":
        bad = g != w
    else:
        bad = ~_close(g, w, tol) if (g != w).any() else np.zeros_like(w, bool)
    if not bad.any():
        return None
    finite = np.isfinite(g)
    if (~finite & bad).any() and np.isfinite(w[~finite & bad]).any():
        what = "NaN (not a number)" if np.isnan(g[~finite & bad]).any() else "infinity"
        return Difference("nan", f"Your answer{at} holds {what}{_place(~finite & bad)}, where a number is expected.")
    gap = np.zeros(bad.shape)
    gap[bad] = np.abs(_wide(g)[bad] - _wide(w)[bad])  # where both are infinite there is no difference to take
    gap[~np.isfinite(gap)] = np.inf
    place = np.unravel_index(int(gap.argmax()), gap.shape)
    if g.dtype.kind == w.dtype.kind == "b":
        return Difference("value", f"Your answer{at} is {g[place]}{_place(place)}; {w[place]} is expected.")
    text = f"The largest difference{at} is {gap[place]:.3g}{_place(place)}: got {g[place]!s}, expected {w[place]!s}."
    if g.dtype.kind == "f" and g.dtype.itemsize <= 4 and _close(g, w, _single(tol)).all():
        return Difference("dtype", f"Your numbers{at} are right to the precision of {g.dtype}; {w.dtype} is expected.")
    return Difference("value", text + _value_remark(g, w, tol))


def _single(tol: Tolerance) -> Tolerance:
    """The tolerance for numbers that went through 32-bit floats: about 100 roundings of 1.2e-7."""
    return replace(tol, rtol=max(tol.rtol, 1e-5), atol=max(tol.atol, 1e-6))


def forgiving(tol: Tolerance) -> Tolerance:
    """For recognising a misconception in another dress: only the numbers count, to the precision of 32-bit floats."""
    return replace(tol, rtol=max(tol.rtol, 1e-4), atol=max(tol.atol, 1e-5), loose=True)


def _wide(a: np.ndarray) -> np.ndarray:
    return a.astype(complex if a.dtype.kind == "c" else float)


def _close(g: np.ndarray, w: np.ndarray, tol: Tolerance) -> np.ndarray:
    with np.errstate(invalid="ignore", over="ignore"):
        g, w = _wide(g), _wide(w)
        return np.isclose(g, w, rtol=tol.rtol, atol=tol.atol, equal_nan=True)


def _place(at: Any) -> str:
    """` at position (1, 2)` for an index or for the first True of a mask; nothing for a single number."""
    if isinstance(at, (np.ndarray, np.bool_)):  # comparing two single numbers gives np.bool_
        at = np.unravel_index(int(at.argmax()), at.shape)
    index = tuple(int(i) for i in at)
    return f" at position {index[0] if len(index) == 1 else index}" if index else ""


def _shape_remark(g: np.ndarray, w: np.ndarray) -> str:
    if g.ndim > 1 and g.shape == w.shape[::-1]:
        turned = np.allclose(g.T, w) if _is_number(g) and _is_number(w) else False
        return " It is the right answer, transposed." if turned else " The axes are the wrong way round."
    if g.size == w.size:
        return " The number of elements is right, so an axis too many or too few is likely."
    if w.ndim == 1 and g.shape == (w.size, w.size):
        return " Broadcasting made a table: (n, 1) with (n,) gives (n, n)."
    return ""


def _value_remark(g: np.ndarray, w: np.ndarray, tol: Tolerance) -> str:
    """What is regular about the difference, where something is."""
    if g.ndim == 2 and g.shape[0] == g.shape[1] and _close(g.T, w, tol).all():
        return " Your answer is the right one, transposed."
    if not np.abs(w).max() > 0 or not np.isfinite(g).all() or not np.isfinite(w).all():
        return ""
    if _close(-_wide(g), w, tol).all():
        return " Every number has the wrong sign."
    top = np.unravel_index(int(np.abs(w).argmax()), w.shape)
    factor = (_wide(g)[top] / _wide(w)[top]).real
    if w.size > 1 and factor and _close(_wide(g), _wide(w) * factor, tol).all():
        return f" Every number is {factor:.4g} times the expected one."
    shift = (_wide(g) - _wide(w))[top].real
    if w.size > 1 and _close(_wide(g), _wide(w) + shift, tol).all():
        return f" Every number is {abs(shift):.4g} too {'large' if shift > 0 else 'small'}."
    return ""
