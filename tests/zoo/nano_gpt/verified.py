"""Claims about nanoGPT and its child: beside the same formulas written out once more, with nothing of lib in them."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor

from lib.spec import get
from lib.stack import Model
from tests.attention.twins import shaken
from tests.claims import Claim, difference, largest

TOLERANCE = 1e-10
WHAT = "logits, loss, gradients, float64"

rngs = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def norm(x: Tensor, weight: Tensor | None) -> Tensor:
    x = x - x.mean(-1, keepdim=True)
    y = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return y if weight is None else y * weight


def turned(x: Tensor, base: float) -> Tensor:
    """Directions, as complex numbers, turned by their positions: (B, H, T, D)."""
    x = x / (x.square().mean(-1, keepdim=True) + torch.finfo(x.dtype).eps).sqrt()
    T, D = x.shape[-2:]
    z = torch.complex(x[..., : D // 2], x[..., D // 2 :])
    angle = torch.arange(T)[:, None] * base ** (-torch.arange(0, D, 2).double() / D)
    z = z * torch.polar(torch.ones_like(angle), angle)
    return torch.cat((z.real, z.imag), dim=-1)


def reference(w: dict[str, Tensor], ids: Tensor, n_heads: int, base: float | None) -> Tensor:
    """Logits; base is None for nanoGPT, and the base of the rotary positions for its child."""
    T = ids.shape[1]
    x = w["body.embed.tokens.weight"][ids]
    x = x if base else x + w["body.embed.pos.weight"][:T]
    n_layers = len([name for name in w if name.endswith("ff.up.weight")])
    future = torch.ones(T, T).triu(1).bool()
    for i in range(n_layers):
        block = {name.split(f"blocks.{i}.")[1]: p for name, p in w.items() if f"blocks.{i}." in name}
        y = norm(x, block.get("add_mix.norm.weight"))
        q, k, v = (torch.stack((y @ block[f"mix.{name}.weight"].T).chunk(n_heads, -1), 1) for name in "qkv")
        q, k = (turned(q, base), turned(k, base)) if base else (q, k)
        s = torch.einsum("bhtd,bhsd->bhts", q, k) / math.sqrt(q.shape[-1])
        y = torch.einsum("bhts,bhsd->bthd", s.masked_fill(future, -math.inf).softmax(-1), v).flatten(2)
        x = x + y @ block["mix.out.weight"].T
        y = norm(x, block.get("add_ff.norm.weight")) @ block["ff.up.weight"].T
        y = y.clamp(min=0) ** 2 if base else y * (1 + torch.erf(y / math.sqrt(2))) / 2
        x = x + y @ block["ff.down.weight"].T
    y = norm(x, w.get("body.stack.final.weight"))
    return 15 * torch.tanh(y @ w["head.out.weight"].T / 15) if base else y @ w["body.embed.tokens.weight"].T


def error(name: str, rng: np.random.Generator) -> float:
    """The largest difference of a random small model from the reference."""
    n_heads, d_head, T = int(rng.integers(1, 4)), 2 * int(rng.integers(1, 5)), int(rng.integers(1, 9))
    sizes = {"n_heads": n_heads, "d_model": n_heads * d_head, "d_ff": int(rng.integers(1, 20)), "n_positions": 8}
    spec = get(name).but(n_vocab=11, n_layers=int(rng.integers(1, 4)), base=100.0, **sizes)
    model = shaken(Model(spec), rng)
    ids, targets = torch.from_numpy(rng.integers(0, 11, (2, 3, T)))
    weights = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    ours, theirs = model(ids), reference(weights, ids, n_heads, None if name == "nano-gpt" else 100.0)
    losses = [F.cross_entropy(z.flatten(0, 1), targets.flatten()) for z in (ours, theirs)]
    for loss in losses:
        loss.backward()
    pairs = [(ours, theirs), losses, *((p.grad, weights[name].grad) for name, p in model.named_parameters())]
    return max(difference(a.detach().numpy(), b.detach().numpy()) for a, b in pairs)


def claim(name: str) -> Claim:
    measure = partial(largest, rngs, partial(error, name), TOLERANCE, 10)
    return Claim(name, f"its formulas, written out: {WHAT}", TOLERANCE, measure)


CLAIMS = [claim("nano-gpt"), claim("mini-gpt")]
