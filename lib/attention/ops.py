"""Tiled attention as an operator of torch: differentiable, and kept whole by torch.compile.

    y, lse = flash(q, k, v, Pattern(right=0), scale=0.125)            # flash_triton/
    y, lse = flash(q, k, v, Pattern(right=0), scale=0.125, triton=False)  # flash.py, its twin in plain torch

To autograd and to torch.compile a kernel is a black box. `torch.library` takes what they need to know of it: a schema,
the shapes of the answer (`register_fake`; lengths may be symbols, so that a new length is no new compilation), and the
way back (`register_autograd`). The way back is an operator of its own and has none itself: a second derivative is an
error.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lib.attention.pattern import Pattern
from lib.shapes import BGSD, BHTD


def flash(
    q: BHTD,
    k: BGSD,
    v: BGSD,
    pattern: Pattern,
    *,
    scale: float,
    p_dropout: float = 0.0,
    seed: Tensor | None = None,
    sinks: Tensor | None = None,
    triton: bool = True,
) -> tuple[BHTD, Tensor]:
    """y (B, H, T, Dv) and lse (B, H, T), the natural logarithm of each softmax's denominator, both differentiable.

    seed: of the dropout, a whole number in a tensor of its own, such as `torch.randint(2**62, ())`. A tensor, so that a
    compiled graph draws a new one at every call. triton: the kernels, interpreted on a CPU where TRITON_INTERPRET=1; or
    their twin in plain torch. ValueError for what does not fit together.
    """
    options = Options(**vars(pattern), sinks=sinks, seed=seed, scale=scale, p_dropout=p_dropout, triton=triton)
    return torch.ops.course.flash(q, k, v, *options)


class Options(NamedTuple):
    """The fields of a Pattern and the other arguments of `forward` and `backward`, as the schema lists them."""

    left: int | None
    right: int | None
    shift: int
    documents: Tensor | None
    lengths: Tensor | None
    cap: float | None
    slopes: Tensor | None
    sinks: Tensor | None
    seed: Tensor | None
    scale: float
    p_dropout: float
    triton: bool

    def kernels(self):
        """The module that does the work."""
        if self.triton:
            from lib.attention import flash_triton  # exists where Triton does

            return flash_triton
        from lib.attention import flash

        return flash

    def arguments(self) -> dict:
        """All of them but q, k and v, as `forward` and `backward` take them."""
        pattern = Pattern(self.left, self.right, self.shift, self.documents, self.lengths, self.cap, self.slopes)
        seed = 0 if self.seed is None else int(self.seed)
        return dict(pattern=pattern, scale=self.scale, p_dropout=self.p_dropout, seed=seed, sinks=self.sinks)


TENSORS = ("documents", "lengths", "slopes", "sinks", "seed")
SCHEMA = (
    "SymInt? left, SymInt? right, SymInt shift, Tensor? documents, Tensor? lengths, float? cap, Tensor? slopes, "
    "Tensor? sinks, Tensor? seed, float scale, float p_dropout, bool triton"
)


@torch.library.custom_op(
    "course::flash", mutates_args=(), schema=f"(Tensor q, Tensor k, Tensor v, {SCHEMA}) -> (Tensor y, Tensor lse)"
)
def _forward(q, k, v, *options):
    options = Options(*options)
    return options.kernels().forward(q, k, v, **options.arguments())


@_forward.register_fake
def _(q, k, v, *options):
    rows = q.shape[:3]
    return q.new_empty(*rows, v.shape[3]), q.new_empty(rows, dtype=torch.promote_types(q.dtype, torch.float32))


@torch.library.custom_op(
    "course::flash_backward",
    mutates_args=(),
    schema=f"(Tensor dy, Tensor? dlse, Tensor q, Tensor k, Tensor v, Tensor y, Tensor lse, {SCHEMA})"
    " -> (Tensor dq, Tensor dk, Tensor dv, Tensor dsinks)",
)
def _backward(dy, dlse, q, k, v, y, lse, *options):
    options = Options(*options)
    *gradients, dsinks = options.kernels().backward(dy, q, k, v, y, lse, dlse=dlse, **options.arguments())
    gradients.append(q.new_empty(0) if dsinks is None else dsinks)  # an operator returns tensors, never None
    return tuple(gradient.contiguous() for gradient in gradients)


@_backward.register_fake
def _(dy, dlse, q, k, v, y, lse, *options):
    sinks = Options(*options).sinks
    like = (q, k, v, q.new_empty(0) if sinks is None else sinks)
    return tuple(x.new_empty(x.shape) for x in like)


def _keep(ctx, inputs, output):
    q, k, v, *options = inputs
    options = Options(*options)
    ctx.save_for_backward(q, k, v, *output, *(getattr(options, name) for name in TENSORS))
    ctx.options = options._replace(**dict.fromkeys(TENSORS))
    ctx.set_materialize_grads(False)  # lse is seldom used, and its gradient then None


def _differentiate(ctx, dy, dlse):
    q, k, v, y, lse, *tensors = ctx.saved_tensors
    options = ctx.options._replace(**dict(zip(TENSORS, tensors, strict=True)))
    dy = torch.zeros_like(y) if dy is None else dy
    dq, dk, dv, dsinks = torch.ops.course.flash_backward(dy, dlse, q, k, v, y, lse, *options)
    of_options = [None] * len(options)
    if options.sinks is not None:
        of_options[Options._fields.index("sinks")] = dsinks
    return dq, dk, dv, *of_options


_forward.register_autograd(_differentiate, setup_context=_keep)
