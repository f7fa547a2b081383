"""Random calls of attention by their features, what they should give, and what plain formulas give in low precision.

    case = draw(rng, {"causal", "cap"}, torch.float16)
    expected, bound = reference(case), naive(case)

`reference` is lib.attention.core in float64, with gradients by autograd, on the very numbers of the case. `naive` is
the same formulas as the kernels', p = exp(x - lse) and dx = p (dp - delta), on whole tables, with every intermediate in
the case's own dtype. A kernel may be off by twice as much.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lib.attention import core, flash
from lib.attention.pattern import Pattern

FEATURES = ("causal", "window", "shift", "documents", "lengths", "cap", "alibi", "dropout", "sinks", "groups")
ALONE = [(), *((name,) for name in FEATURES)]
PAIRS = [pair for pair in itertools.combinations(FEATURES, 2) if pair != ("shift", "documents")]  # T = S in documents
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
Results = dict[str, Tensor]


@dataclass
class Case:
    q: Tensor
    k: Tensor
    v: Tensor
    dy: Tensor
    dlse: Tensor
    pattern: Pattern
    options: dict

    def call(self, module, **more) -> Results:
        """What `forward` and `backward` of flash.py or of the kernels give: y, lse and the gradients, by name."""
        y, lse = module.forward(self.q, self.k, self.v, self.pattern, **self.options, **more)
        return {"y": y, "lse": lse} | self.call_backward(module, y, lse, **more)

    def call_backward(self, module, y: Tensor, lse: Tensor, **more) -> Results:
        more = self.options | {"dlse": self.dlse} | more
        gradients = module.backward(self.dy, self.q, self.k, self.v, y, lse, self.pattern, **more)
        return {n: g for n, g in zip(("dq", "dk", "dv", "dsinks"), gradients, strict=True) if g is not None}

    def to(self, dtype: torch.dtype) -> Case:
        """The same numbers in another dtype, as far as it can hold them."""
        q, k, v, dy = (x.to(dtype) for x in (self.q, self.k, self.v, self.dy))
        sinks = self.options["sinks"]
        options = self.options | {"sinks": None if sinks is None else sinks.to(dtype)}
        return replace(self, q=q, k=k, v=v, dy=dy, dlse=self.dlse.to(dtype), options=options)


def draw(rng, features, dtype, *, B=None, T=None, S=None, D=None, Dv=None, heads=None) -> Case:
    """Numbers, and sizes that are not given, at random; every feature that is named is there. heads: H and G."""
    per_row = "documents" in features or "lengths" in features
    B = B or (2 if per_row else 1)
    T = T or int(rng.integers(20, 40))
    S = T if "documents" in features else S or int(rng.integers(20, 40))
    D, Dv = D or int(rng.integers(9, 25)), Dv or int(rng.integers(9, 25))
    H, G = heads or ((4, 2) if "groups" in features else (2, 2))

    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(rng.normal(0, 1, shape)).float()

    pattern = Pattern(
        left=int(rng.integers(0, 20)) if "window" in features else None,
        right=0 if "causal" in features else int(rng.integers(0, 9)) if "window" in features else None,
        shift=int(rng.integers(-6, 7)) if "shift" in features else 0,
        documents=torch.from_numpy(rng.integers(0, 4, (B, T))).sort().values.int() if "documents" in features else None,
        lengths=torch.from_numpy(rng.integers(0, S + 1, B)).int() if "lengths" in features else None,
        cap=float(rng.uniform(1, 30)) if "cap" in features else None,
        slopes=torch.from_numpy(rng.uniform(0, 0.5, H)).float() if "alibi" in features else None,
    )
    options = {
        "scale": 1 / math.sqrt(D),
        "p_dropout": 0.3 if "dropout" in features else 0.0,
        "seed": int(rng.integers(2**62)),
        "sinks": normal(H).to(torch.promote_types(dtype, torch.float32)) if "sinks" in features else None,
    }
    q, k, v, dy = (normal(*shape).to(dtype) for shape in ((B, H, T, D), (B, G, S, D), (B, G, S, Dv), (B, H, T, Dv)))
    return Case(q, k, v, dy, normal(B, H, T), pattern, options)


def allowed(pattern: Pattern, B: int, T: int, S: int) -> Tensor:
    """The mask of a pattern, word for word from its docstring: (B, T, S)."""
    q, k = torch.arange(T)[:, None] + pattern.shift, torch.arange(S)
    yes = torch.ones(B, T, S, dtype=torch.bool)
    if pattern.left is not None:
        yes = yes & (q - k <= pattern.left)
    if pattern.right is not None:
        yes = yes & (k - q <= pattern.right)
    if pattern.documents is not None:
        yes = yes & (pattern.documents[:, :, None] == pattern.documents[:, None, :])
    if pattern.lengths is not None:
        yes = yes & (k < pattern.lengths[:, None, None])
    return yes


def score_of(pattern: Pattern):
    """The score of a pattern, word for word from its docstring."""

    def score(s, b, h, q, k):
        if pattern.cap is not None:
            s = pattern.cap * torch.tanh(s / pattern.cap)
        if pattern.slopes is not None:
            s = s - pattern.slopes.to(s.dtype)[h] * (q + pattern.shift - k).abs()
        return s

    return score


def dropped(case: Case) -> Tensor | float:
    """What dropout multiplies the weights by: (B, H, T, S)."""
    (B, H, T), S, p = case.q.shape[:3], case.k.shape[2], case.options["p_dropout"]
    if p == 0:
        return 1.0
    bh = torch.arange(B * H).view(B, H, 1, 1)
    kept = flash.kept(case.options["seed"], p, bh, torch.arange(T)[:, None], torch.arange(S))
    return kept.to(case.q.dtype) / (1 - p)


def reference(case: Case) -> Results:
    """In float64, the weights from lib.attention.core."""
    case = case.to(torch.float64)
    yes = allowed(case.pattern, len(case.q), case.q.shape[2], case.k.shape[2])

    def outputs(q, k, v, sinks):
        def mask(b, h, i, j):
            return yes[b, i, j]

        w = core.weights(q, k, mask, score_of(case.pattern), case.options["scale"], sinks)
        return (w * dropped(case)) @ core.for_each_head(v, q.shape[1]), lse_of(_scores(case, q, k), sinks)

    return _differentiated(case, outputs)


def naive(case: Case) -> Results:
    """In the dtype of the case from beginning to end, slopes and sinks included; the backward by the same formulas."""
    case = case.to(case.q.dtype)
    q, k = case.q.clone().requires_grad_(), case.k.clone().requires_grad_()
    v, sinks, drop = core.for_each_head(case.v, q.shape[1]), case.options["sinks"], dropped(case)
    x = _scores(case, q, k)
    lse = lse_of(x.detach(), sinks)
    p = (x.detach() - lse.masked_fill(lse == -math.inf, 0)[..., None]).exp()
    y = (p * drop) @ v
    delta = ((case.dy * y).sum(-1) - case.dlse).masked_fill(lse == -math.inf, 0)
    ds = p * (drop * (case.dy @ v.mT) - delta[..., None])
    dq, dk = torch.autograd.grad(x, (q, k), ds)
    dv = ((p * drop).mT @ case.dy).unflatten(1, (k.shape[1], -1)).sum(2)
    found = {"y": y, "lse": lse, "dq": dq, "dk": dk, "dv": dv}
    return found if sinks is None else found | {"dsinks": -((sinks[:, None] - lse).exp() * delta).sum((0, 2))}


def _scores(case: Case, q: Tensor, k: Tensor) -> Tensor:
    (B, H, T), S = q.shape[:3], k.shape[2]
    x = case.options["scale"] * (q @ k.repeat_interleave(H // k.shape[1], 1).mT)
    x = score_of(case.pattern)(x, None, torch.arange(H)[:, None, None], torch.arange(T)[:, None], torch.arange(S))
    return x.masked_fill(~allowed(case.pattern, B, T, S)[:, None], -math.inf)


def lse_of(x: Tensor, sinks: Tensor | None) -> Tensor:
    if sinks is not None:
        x = torch.cat((x, sinks[:, None, None].expand(*x.shape[:3], 1)), -1)
    return x.logsumexp(-1)


def _differentiated(case: Case, outputs) -> Results:
    names = ["q", "k", "v"]
    leaves = {name: getattr(case, name).clone().requires_grad_() for name in names}
    leaves["sinks"] = case.options["sinks"]
    if leaves["sinks"] is not None:
        leaves["sinks"] = leaves["sinks"].clone().requires_grad_()
        names.append("sinks")
    y, lse = outputs(**leaves)
    seen = lse.masked_fill(lse == -math.inf, 0)  # a query that saw nothing has no gradient
    gradients = torch.autograd.grad((y, seen), [leaves[n] for n in names], (case.dy, case.dlse), allow_unused=True)
    found = {"y": y.detach(), "lse": lse.detach()}
    return found | {f"d{n}": g if g is not None else leaves[n] * 0 for n, g in zip(names, gradients, strict=True)}


def error(found: Tensor, expected: Tensor) -> float:
    """The largest difference; infinities must be at the same places."""
    endless = expected == -math.inf
    assert torch.equal(found == -math.inf, endless), "-inf at other places"
    return float((found.double() - expected).masked_fill(endless, 0).abs().max())


def assert_precise(case: Case, found: Results, expected: Results) -> None:
    """At most twice the error of the naive computation, beside 2^-20 of the largest number, a few roundings of float32.

    The latter says nothing of float16 and bfloat16. It is there for float32 and for what the naive computation gets
    right by chance: the kernels sum in float32 in another order.
    """
    bounds = naive(case)
    for name, x in found.items():
        assert x.shape == expected[name].shape
        rounding = 2.0**-20 * max(1.0, float(expected[name].masked_fill(expected[name] == -math.inf, 0).abs().max()))
        ours, theirs = error(x, expected[name]), error(bounds[name], expected[name])
        assert ours <= 2 * theirs + rounding, f"{name} is off by {ours:.1e}, the naive computation by {theirs:.1e}"
