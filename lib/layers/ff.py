"""Feed-forward layers: what a block does to each position by itself, between looking at the others.

FeedForward(d_model=64, d_ff=256)                        the original, with a ReLU
Gated(d_model=64, d_ff=172, act=F.silu, bias=False)      SwiGLU, as in Llama
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from lib.shapes import BTC


def gelu_tanh(x: Tensor) -> Tensor:
    """GELU with a tanh in place of the normal distribution's integral, as GPT computes it; off by at most 0.0005.

    D. Hendrycks and K. Gimpel (2016), "Gaussian Error Linear Units (GELUs)", section 2.
    """
    return F.gelu(x, approximate="tanh")


def squared_relu(x: Tensor) -> Tensor:
    """max(x, 0)^2. D. So et al. (2021), "Primer: Searching for Efficient Transformers", section 4.2."""
    y = F.relu(x)
    return y * y  # y.square() has a slower backward


class FeedForward(nn.Module):
    """y = down(act(up(x))): C -> F -> C, the same at each position.

    A. Vaswani et al. (2017), "Attention Is All You Need", section 3.3, where act is ReLU and F is 4 C.
    """

    def __init__(self, d_model: int, d_ff: int, act: Callable[[Tensor], Tensor] = F.relu, bias: bool = True):
        super().__init__()
        self.act = act
        self.up = nn.Linear(d_model, d_ff, bias=bias)
        self.down = nn.Linear(d_ff, d_model, bias=bias)

    def forward(self, x: BTC) -> BTC:
        return self.down(self.act(self.up(x)))  # B T F in between


class Gated(FeedForward):
    """y = down(act(gate(x)) up(x)): half of the inner layer decides how much of the other half passes.

    N. Shazeer (2020), "GLU Variants Improve Transformer", section 2; with act = F.silu it is SwiGLU.
    """

    def __init__(self, d_model: int, d_ff: int, act: Callable[[Tensor], Tensor] = F.silu, bias: bool = True):
        super().__init__(d_model, d_ff, act, bias)
        self.gate = nn.Linear(d_model, d_ff, bias=bias)

    def forward(self, x: BTC) -> BTC:
        return self.down(self.act(self.gate(x)) * self.up(x))  # B T F in between
