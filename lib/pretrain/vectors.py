"""First vectors for tokens, out of counts: tokens that stand among the same others begin alike.

A model whose table begins as noise spends its first steps on finding out which tokens go together. That much counting
knows in seconds. O. Levy and Y. Goldberg (2014), "Neural Word Embedding as Implicit Matrix
Factorization", section 5.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lib.shapes import BT, require

SMOOTHING = 0.75
"""Power of the counts of the neighbours, so that rare ones do not seem to tell more than they do; section 3.1."""


def counts(ids: BT, n_vocab: int, window: int, ignored: Tensor | None = None) -> Tensor:
    """How often each two tokens stand at most `window` places apart in a row: (V, V), float32, symmetric.

    ids: (N, T), long. ignored: (N, T) bool, places that count nowhere.
    """
    require(1 <= window < ids.shape[1], f"a window is from 1 to the row's length less 1, not {window}")
    keep = torch.ones_like(ids, dtype=torch.bool) if ignored is None else ~ignored
    total = torch.zeros(n_vocab * n_vocab)
    for apart in range(1, window + 1):
        both = keep[:, :-apart] & keep[:, apart:]
        total += torch.bincount(ids[:, :-apart][both] * n_vocab + ids[:, apart:][both], minlength=n_vocab**2)
    total = total.view(n_vocab, n_vocab)
    return total + total.mT


def vectors(together: Tensor, d_model: int, std: float) -> Tensor:
    """A vector for each token: (V, d_model), with mean 0 and the spread std; noise where nothing is known.

        m = max(0, log p(a, b) / (p(a) p'(b)))      positive pointwise mutual information, p' with SMOOTHING
        m ~ U S U'^T                                the best approximation of rank d_model; then U sqrt(S)

    The vectors are of one length, since how common a token is says nothing about its kind.
    """
    seen = together.sum(1)
    smooth = seen**SMOOTHING
    ratio = together * smooth.sum() / (seen[:, None] * smooth)  # 0 / 0 where a token is in no row
    information = torch.where(together > 0, ratio.log(), 0).clamp(min=0)
    u, s, _ = torch.svd_lowrank(information, q=min(d_model + 20, len(together)), niter=2)
    found = (u * s.sqrt())[:, :d_model]
    require(found.shape[1] == d_model, f"{len(together)} tokens have no {d_model} directions: take a smaller d_model")
    found = found - found.mean(0)
    length = found.norm(dim=1, keepdim=True)
    known = (seen > 0)[:, None] & (length > 1e-6)
    noise = torch.randn(len(together), d_model) * std
    return torch.where(known, found / length.clamp(min=1e-6) * std * d_model**0.5, noise)
