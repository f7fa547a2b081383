"""What stands on top of a stack and turns hidden states into an answer.

A head is a value of a specification's slot `head`: built as head(spec), called as head(y, table) with the hidden states
(B, T, C) that the stack ends with and the table of token embeddings (V, C).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from lib.shapes import BTC

if TYPE_CHECKING:
    from lib.spec import Spec


class TiedLM(nn.Module):
    """logits = y table^T: the likelier a token, the more its embedding points the way of y. No parameters of its own.

    O. Press and L. Wolf (2017), "Using the Output Embedding to Improve Language Models".
    """

    def __init__(self, spec: Spec):
        super().__init__()

    def forward(self, y: BTC, table: Tensor) -> Tensor:
        return y @ table.mT  # B T V


class LM(nn.Module):
    """logits = out(y), with a matrix (V, C) of its own and no bias."""

    def __init__(self, spec: Spec):
        super().__init__()
        self.out = nn.Linear(spec.d_model, spec.n_vocab, bias=False)

    def forward(self, y: BTC, table: Tensor) -> Tensor:
        return self.out(y)  # B T V
