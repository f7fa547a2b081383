"""A model whose step is compiled for its size: the same ids, in a third of the time where the model is small.

    fast = Compiled(model, n_rows=1, size=512)          once: seconds to a minute of compiling
    generate(fast, [prompt], 200)                       as with `model`, up to 512 positions

A step with one new token does little arithmetic, so most of its time goes into calling one operator after the other.
torch's compiler makes one piece of machine code of them all. For that every size has to be fixed: the step attends to
all slots of the cache, and a mask hides those that are not in use yet.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lib.attention import core
from lib.attention.backends import compiler_lacks
from lib.attention.decode import Cache, Lengths
from lib.shapes import BGSD, BS, BT, require
from lib.stack import Model, Single, State

OPTIONS: dict[str, Any] = {
    "post_grad_fusion_options": {"decompose_mm_pass": {}},  # a matrix times one vector joins the loops around it
    "size_asserts": False,  # sizes are checked here
    "cpp.enable_floating_point_contract_flag": "fast",  # a b + c rounded once and not twice
}


class Compiled(Model):
    """`model` with a compiled `step`, for one new token in each of up to n_rows sequences of up to `size` positions.

    It shares the model's parameters, and stands where a model may stand: generate(Compiled(model, 1, 512), ...). What
    the compiled step is not for goes the model's own way: prompts, and caches that `start` did not make. Rows that are
    done are computed along. Logits differ from the model's by rounding alone. Where parameters change, compile again.

    Compiling takes 10 to 20 seconds of a processor for 2 to 4 layers, then grows with them. For decoders on the CPU.
    ValueError for another body or device, for a model in training mode, and where there is no C++ compiler, as is
    common on Windows: then take the model itself, which gives the same ids.
    """

    def __init__(self, model: Model, n_rows: int, size: int):
        nn.Module.__init__(self)
        self.spec, self.body, self.head = model.spec, model.body, model.head
        self.train(model.training)
        require(min(n_rows, size) >= 1, f"sizes are at least 1: {n_rows=}, {size=}")
        require(isinstance(self.body, Single), "a step with an encoder is not compiled: take the model itself")
        device = self.body.embed.tokens.weight.device
        require(device.type == "cpu", f"a step is compiled for the CPU, and this model is on {device}")
        require(not model.training, "the model is in training mode: call model.eval()")
        if (lack := compiler_lacks()) is not None:
            raise ValueError(f"{lack}: install one, or take the model itself, which gives the same ids")
        self.n_rows, self.size = n_rows, size
        self._run = _compile(self, model.start(n_rows, size))

    def start(self, *args: Any, **kwargs: Any) -> State:
        """Room for `size` positions, which must suffice, in each of n_rows sequences."""
        n_rows, size = args
        fits = f"compiled for {self.n_rows} rows of {self.size} positions, not for {n_rows} of {size}: compile another"
        require(n_rows <= self.n_rows and size <= self.size, fits)
        return super().start(n_rows, self.size)

    @torch.no_grad()
    def step(self, ids: BT, state: State, lengths: Lengths | None = None) -> Tensor:
        cache, B = state.caches[0], len(ids)
        ours = type(cache) is Cache and cache.size == self.size and B <= self.n_rows
        if not ours or ids.shape[1] > 1 or lengths is not None:
            return super().step(ids, state, lengths)
        if len(cache.n) != self.n_rows:  # any row will do for those that are missing
            state.reorder(torch.arange(self.n_rows).clamp(max=B - 1))
        seen = int(cache.n.max()) if cache.n_all is None else cache.n_all
        require(seen < self.size, f"a row would hold {seen + 1} positions, but this step was compiled for {self.size}")
        ids = ids.long().contiguous()  # compiled code takes the layout for granted
        ids = ids if B == self.n_rows else ids.new_zeros(self.n_rows, 1).index_copy(0, torch.arange(B), ids)
        logits = self._run(ids, cache.n, *(cache.k for cache in state.caches), *(cache.v for cache in state.caches))
        n = cache.n + 1
        for cache in state.caches:
            cache.grow(n)
        return logits[:B]


class Slots(Cache):
    """The tensors of a cache as the compiled step sees them: one new token a row, and all slots to attend to."""

    def __init__(self, k: BGSD, v: BGSD, n: Tensor):
        self.k, self.v, self.n, self.n_all, self.size = k, v, n, None, k.shape[2]

    def next_positions(self, B: int, T: int, lengths: Lengths | None = None) -> BT:
        return self.n.unsqueeze(1)

    def extend(self, k: BGSD, v: BGSD, at: BT) -> tuple[BGSD, BGSD, BS]:
        b = torch.arange(len(at)).unsqueeze(1)
        self.k[b, :, at], self.v[b, :, at] = k.transpose(1, 2), v.transpose(1, 2)
        slot = torch.arange(self.size)
        return self.k, self.v, slot.where(slot <= at, -1)


def _compile(model: Model, state: State) -> Callable[..., Tensor]:
    """run(ids, n, *keys, *values) -> logits. The operators of one step are written down, then compiled.

    Not `torch.compile`, which asks before each call whether anything that it saw has changed since: a tenth of a step.
    """
    from torch._inductor import compile as compiled  # seconds to import, and only needed here
    from torch.fx.experimental.proxy_tensor import make_fx

    shared = {id(each): each for each in (*model.parameters(), *model.buffers())}
    twin = copy.deepcopy(model, shared)
    for layer in twin.modules():
        if isinstance(layer, core.Attention):
            layer.attend = core.attend  # nothing to choose from: no back end is to be asked

    def step(ids: BT, n: Tensor, *kept: Tensor) -> Tensor:
        k, v = kept[: len(kept) // 2], kept[len(kept) // 2 :]
        return Model.step(twin, ids, State([Slots(*pair, n) for pair in zip(k, v, strict=True)]))

    kept = *(cache.k for cache in state.caches), *(cache.v for cache in state.caches)
    example = torch.zeros(len(kept[0]), 1, dtype=torch.long), state.caches[0].n, *kept
    with torch.no_grad(), _compiling():
        graph = make_fx(step)(*example)
        run: Any = compiled(graph, list(example), options=OPTIONS)
    return run


@contextmanager
def _compiling() -> Iterator[None]:
    """`torch.compiler.is_compiling()` within: no layer is to look at the numbers in a tensor."""
    torch.compiler._is_compiling_flag = True
    try:
        yield
    finally:
        torch.compiler._is_compiling_flag = False
