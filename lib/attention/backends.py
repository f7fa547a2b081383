"""Which attention runs: one call, several back ends, the same answer.

y = attention(q, k, v, mask=causal)                             # the fastest that can do it here
y = attention(q, k, v, mask=causal, backend="sdpa")             # that one; a ValueError if it cannot
print(explain(q, k, v, mask=causal))                            # which one, and why not the others
Attention(d_model, n_heads, mask=causal, attend=attention)      # in a layer

triton      our kernels, flash_triton/: on a GPU from compute capability 8.0, for masks and scores with a Pattern
flex        torch's flex_attention, compiled: for any mask and score; skips tiles of 128 that the mask rules out
sdpa        torch's scaled_dot_product_attention: any mask, as a table; scores that only add to s
flash       our tiles in plain torch, flash.py: to be read beside the paper and to test the kernels against
reference   core.py: everything
"""

from __future__ import annotations

import functools
import importlib.util
import math
import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from lib.attention import core, masks, scores
from lib.attention.flash import intervals
from lib.attention.ops import flash
from lib.attention.pattern import Pattern, name
from lib.bootstrap import installed, old
from lib.shapes import BGSD, BHTD, Mask, Score, require


def has_triton() -> bool:
    """Whether the kernels can be imported here: they need Triton 3.4 or newer."""
    return importlib.util.find_spec("triton") is not None and not old(installed("triton") or "3.4", "3.4")


HAS_TRITON = has_triton()
LEAST_CAPABILITY = (8, 0)
"""Compiled for 7.5, Triton gave our kernels no matrix instruction, and registers that spill."""
TILE = 128
"""Positions in a tile of a block mask: flex_attention's default."""
LEAST_PAIRS, LEAST_SKIPPED = 2048 * 2048, 0.5
"""T S and the share of tiles from which flex is worth compiling: bench/attention.py measures both sides of them."""


def attention(
    q: BHTD,
    k: BGSD,
    v: BGSD,
    mask: Mask = masks.full,
    score: Score = scores.same,
    scale: float | None = None,
    p_dropout: float = 0.0,
    *,
    sinks: Tensor | None = None,
    backend: str = "auto",
    explain: bool = False,
) -> BHTD:
    """What `core.attend` computes, by the back end of that name, or by the fastest that can: "auto".

    explain=True prints each back end that was considered, and why it was or was not taken. ValueError for tensors that
    do not fit together, and for what the back end does not do; the message names one that does. Dropout draws other
    random numbers in each back end.
    """
    request = Request(q, k, v, mask, score, scale, p_dropout, sinks)
    plan = request.plan(backend)
    if explain:
        print(plan)
    return BACKENDS[plan.backend].run(request)


def explain(
    q: BHTD,
    k: BGSD,
    v: BGSD,
    mask: Mask = masks.full,
    score: Score = scores.same,
    scale: float | None = None,
    p_dropout: float = 0.0,
    *,
    sinks: Tensor | None = None,
    backend: str = "auto",
) -> Plan:
    """The back end that `attention` would take for these arguments, and why."""
    return Request(q, k, v, mask, score, scale, p_dropout, sinks).plan(backend)


@dataclass(frozen=True)
class Plan:
    """The back end that runs, and what was found about each that was considered, in that order."""

    backend: str
    reasons: dict[str, str]

    def __str__(self) -> str:
        return "\n".join(f"{name:<10} {reason}" for name, reason in self.reasons.items())


class Request:
    """The arguments of one call, checked, and what the back ends ask about them."""

    def __init__(
        self,
        q: BHTD,
        k: BGSD,
        v: BGSD,
        mask: Mask,
        score: Score,
        scale: float | None,
        p_dropout: float,
        sinks: Tensor | None,
    ):
        core.check(q, k, v, sinks)
        require(0 <= p_dropout < 1, f"p_dropout is a probability below 1, not {p_dropout}")
        self.q, self.k, self.v, self.mask, self.score, self.sinks = q, k, v, mask, score, sinks
        self.scale, self.p_dropout = 1 / math.sqrt(q.shape[3]) if scale is None else scale, p_dropout
        B, H, T, _ = q.shape
        self.sizes = B, H, T, k.shape[2]
        self._pattern: Pattern | str | None = None
        self.on_cpu, self.on_gpu = q.device.type == "cpu", q.device.type == "cuda"

    @property
    def pattern(self) -> Pattern | str:
        """The pattern of mask and score, or why there is none. Found when first asked for: not every back end asks."""
        if self._pattern is None:  # torch.compile cannot read a functools.cached_property
            self._pattern = Pattern.of(self.mask, self.score, *self.sizes, self.q.device)
        return self._pattern

    @property
    def interval(self) -> tuple[Tensor, Tensor] | None:
        """lo, hi: the keys of each query, where they are one interval; None where they are not."""
        band, (T, S), device = self.pattern, self.sizes[2:], self.q.device
        if isinstance(band, str):
            band = Pattern.of(self.mask, scores.same, *self.sizes, device)
        return None if isinstance(band, str) else intervals(band, T, S, device)

    def plan(self, backend: str) -> Plan:
        """The back end of that name if it can; for "auto", the first of the table that can and is worth it."""
        known = f"there is no back end {backend!r}: take one of auto, {', '.join(BACKENDS)}"
        require(backend == "auto" or backend in BACKENDS, known)
        if backend != "auto":
            if (lack := BACKENDS[backend].lacks(self)) is not None:
                able = self.plan("auto").backend
                raise ValueError(f"{backend} cannot do this: {lack}. backend={able!r} can, and 'auto' finds it")
            return Plan(backend, {backend: "taken: asked for"})
        reasons = {}
        for candidate, one in BACKENDS.items():
            if (reason := one.passed_over(self)) is not None:
                reasons[candidate] = f"passed over: {reason}"
            elif (lack := one.lacks(self)) is not None:
                reasons[candidate] = f"cannot: {lack}"
            else:
                return Plan(candidate, reasons | {candidate: "taken"})
        raise AssertionError("the reference does everything")

    @functools.cached_property
    def block_mask(self) -> BlockMask:
        """The mask as flex_attention reads it: which tiles of keys each tile of queries meets."""
        (B, H, T, S), device = self.sizes, self.q.device
        interval = self.interval
        if interval is None:
            return create_block_mask(self.mask, B, H, T, S, device=device)
        lo, hi = torch.broadcast_tensors(*interval)
        first = torch.arange(0, T, TILE, device=device)
        last = (first + TILE - 1).clamp(max=T - 1)
        begin, end = lo[:, first] // TILE, -(-hi[:, last] // TILE)  # neither end ever goes down
        n_tiles = -(-S // TILE)
        tiles = (begin[..., None] + torch.arange(n_tiles, device=device)).clamp(max=n_tiles - 1)  # only n of them count
        n, tiles = (x[:, None].int() for x in ((end - begin).clamp(min=0), tiles))
        return BlockMask.from_kv_blocks(n, tiles, BLOCK_SIZE=TILE, mask_mod=self.mask, seq_lengths=(T, S))

    @property
    def wants_gradient(self) -> bool:
        wanted = (x is not None and x.requires_grad for x in (self.q, self.k, self.v, self.sinks))
        return torch.is_grad_enabled() and (any(wanted) or _may_learn(self.score))


@dataclass(frozen=True)
class Backend:
    """run computes; lacks says why it cannot, or None; passed_over why "auto" takes another even if it can, or None.

    "auto" asks for the second first, which is cheap: what flex lacks takes seconds to find out.
    """

    run: Callable[[Request], Tensor]
    lacks: Callable[[Request], str | None] = lambda request: None
    passed_over: Callable[[Request], str | None] = lambda request: None


# --- triton, and its twin ---------------------------------------------------------------------------------------------


def _tiled(request: Request, triton: bool) -> Tensor:
    r = request
    assert isinstance(r.pattern, Pattern)
    seed = torch.randint(2**62, ()) if r.p_dropout else None
    return flash(
        r.q, r.k, r.v, r.pattern, scale=r.scale, p_dropout=r.p_dropout, seed=seed, sinks=r.sinks, triton=triton
    )[0]


def _flash_lacks(r: Request) -> str | None:
    return r.pattern if isinstance(r.pattern, str) else None


def _triton_lacks(r: Request) -> str | None:
    if not HAS_TRITON:
        return "Triton 3.4 or newer is not installed: `pip install triton`, on Linux"
    if not (r.on_gpu or _interpreted(r)):
        return f"its kernels need a CUDA device, and q is on {r.q.device}"
    if r.q.dtype not in (torch.float16, torch.bfloat16, torch.float32):
        return f"its kernels are for float16, bfloat16 and float32, not {r.q.dtype}"
    if max(r.q.shape[3], r.v.shape[3]) > 256:
        return f"its heads are at most 256 wide, not {max(r.q.shape[3], r.v.shape[3])}"
    return _flash_lacks(r)


def _triton_passed_over(r: Request) -> str | None:
    if _interpreted(r):
        return "interpreted, it is there for tests and for reading"
    if not r.on_gpu:
        return None
    capability = torch.cuda.get_device_capability(r.q.device)
    found = "{}.{}".format(*capability)
    least = f"this GPU has compute capability {found}; below 8.0 the kernels get no matrix instruction, and spill"
    return least if capability < LEAST_CAPABILITY else None


def _interpreted(r: Request) -> bool:
    return HAS_TRITON and r.on_cpu and os.environ.get("TRITON_INTERPRET") == "1"


# --- flex -------------------------------------------------------------------------------------------------------------


def _flex(r: Request) -> Tensor:
    score = r.score.forward if isinstance(r.score, nn.Module) else r.score  # flex counts the arguments of what it gets
    grouped = r.q.shape[1] != r.k.shape[1]
    with torch._dynamo.config.patch(recompile_limit=256):  # one compilation for each shape, and not 8 in all
        return _compiled()(r.q, r.k, r.v, score, r.block_mask, r.scale, grouped)


@functools.cache
def _compiled() -> Callable[..., Tensor]:
    return torch.compile(flex_attention, dynamic=False, fullgraph=True)


def _flex_lacks(r: Request) -> str | None:
    if not (r.on_cpu or r.on_gpu):
        return f"it runs on the CPU and on CUDA, and q is on {r.q.device}"
    if r.p_dropout:
        return "flex_attention has no dropout"
    if r.sinks is not None:
        return "flex_attention has no attention sinks"
    if r.on_gpu:
        return None if HAS_TRITON else "it is compiled by Triton, and 3.4 or newer is not installed"
    if r.wants_gradient:
        return "on a CPU flex_attention has no backward, and a gradient is wanted: call it under torch.no_grad()"
    if r.q.dtype == torch.float64:
        return "on a CPU flex_attention sums in float32"
    return _compiler_lacks()


@functools.cache
def _compiler_lacks() -> str | None:
    """Why torch.compile could not compile flex_attention for this processor."""
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return "on a CPU flex_attention is compiled for AVX2 alone, which this processor has not"
    return compiler_lacks()


def compiler_lacks() -> str | None:
    """Why nothing can be compiled for a processor on this machine, or None."""
    from torch._inductor.cpp_builder import get_cpp_compiler  # seconds to import, and only needed here
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except (InvalidCxxCompiler, RuntimeError) as error:
        return f"torch.compile finds no C++ compiler ({type(error).__name__})"
    return None


def _flex_passed_over(r: Request) -> str | None:
    T, S = r.sizes[2:]
    if T * S < LEAST_PAIRS:
        return f"at T S = {T} x {S} compiling costs more than skipped tiles save; it is for 2048 x 2048 and more"
    if torch.compiler.is_compiling():
        return "its block mask cannot be made inside torch.compile"
    if _flex_lacks(r) is None and _sdpa_lacks(r) is None and (skipped := r.block_mask.sparsity() / 100) < LEAST_SKIPPED:
        return f"the mask rules out {skipped:.0%} of the tiles, and from {LEAST_SKIPPED:.0%} it is faster"
    return None


# --- sdpa -------------------------------------------------------------------------------------------------------------


def _sdpa(r: Request) -> Tensor:
    _, H, T, S = r.sizes
    k, v, table, blind = r.k, r.v, None, None
    causal = r.mask is masks.causal and r.score is scores.same and r.sinks is None
    if not (causal or r.mask is masks.full):
        table = _table(r)
        blind = ~table.any(-1, keepdim=True)
        table = table | blind  # whatever a kernel makes of a row without keys, its answer and gradient become 0 below
    bias = _bias(r)
    if r.sinks is not None:  # one more key, of zeros: its score is the bias alone; its value is zeros too
        k, v = (F.pad(x, (0, 0, 0, 1)) for x in (k, v))
        table = None if table is None else F.pad(table, (0, 1), value=True)
        bias = r.q.new_zeros(1, H, T, S) if bias is None else bias.expand(-1, H, T, S)
        bias = torch.cat((bias, r.sinks.to(bias.dtype)[:, None, None].expand(len(bias), H, T, 1)), dim=-1)
    if bias is not None:
        table = bias if table is None else bias.masked_fill(~table, -math.inf)
    grouped = H != k.shape[1]
    y = F.scaled_dot_product_attention(r.q, k, v, table, r.p_dropout, causal, scale=r.scale, enable_gqa=grouped)
    return y if blind is None else y.masked_fill(blind, 0)


def _bias(r: Request) -> Tensor | None:
    """What the score adds to s, with four axes, of 1 where it does not differ."""
    if r.score is scores.same:
        return None
    bias = r.score(r.q.new_zeros(()), *masks.indices(*r.sizes, r.q.device))
    return bias[(None,) * (4 - bias.dim())]


def _table(r: Request) -> Tensor:
    """The mask as bools, with axes of 1 where it does not differ."""
    interval = r.interval
    if interval is None:
        return masks.dense(r.mask, *r.sizes, r.q.device)
    lo, hi = (end[:, None, :, None] for end in interval)
    at = torch.arange(r.sizes[3], device=r.q.device)
    return (at >= lo) & (at < hi)


def _sdpa_lacks(r: Request) -> str | None:
    return None if _adds(r.score) else f"it knows scores that only add to s, and {name(r.score)} may do more"


def _adds(score: Score) -> bool:
    """Is it known that score(s, ...) = s + score(0, ...)?"""
    owner = _owner(score)
    if isinstance(owner, scores.Compose):
        return all(map(_adds, owner.scores))
    if isinstance(owner, scores.moved):
        return _adds(owner.score)
    return owner is scores.same or isinstance(owner, scores.alibi | scores.T5Bias | scores.RelativeBias)


def _may_learn(score: Score) -> bool:
    """Does the score want a gradient? A function may hold anything, so it does."""
    owner = _owner(score)
    if isinstance(owner, scores.Compose):
        return any(map(_may_learn, owner.scores))
    if isinstance(owner, scores.moved):
        return _may_learn(owner.score)
    if isinstance(owner, nn.Module):
        return any(p.requires_grad for p in owner.parameters())
    return owner is not scores.same and not isinstance(owner, scores.soft_cap | scores.alibi)


def _owner(score: Score) -> object:
    """The module whose `forward` the score is, or itself."""
    return getattr(score, "__self__", score)


BACKENDS = {
    "triton": Backend(functools.partial(_tiled, triton=True), _triton_lacks, _triton_passed_over),
    "flex": Backend(_flex, _flex_lacks, _flex_passed_over),
    "sdpa": Backend(_sdpa, _sdpa_lacks),
    "flash": Backend(
        functools.partial(_tiled, triton=False), _flash_lacks, lambda r: "plain torch, it is there to be read"
    ),
    "reference": Backend(lambda r: core.attend(r.q, r.k, r.v, r.mask, r.score, r.scale, r.p_dropout, r.sinks)),
}
