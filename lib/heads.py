"""What stands on top of a stack and turns hidden states into an answer.

A head is a value of a specification's slot `head`: built as head(spec), called as head(y, table) with the hidden states
(B, T, C) that the stack ends with and the table of token embeddings (V, C).

    States                                          the hidden states themselves
    TiedLM, LM, CappedLM                            the next token at each position
    MaskedLM, NextSentence, Pretraining             what BERT is trained on
    Pool, OfSequence, OfTokens, Span                what BERT is used for
    OfPrefixes                                      a text's class from a model that reads forwards

A model that was trained with one head goes on with another by `model.head = OfSequence(model.spec)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.shapes import BTC

if TYPE_CHECKING:
    from lib.spec import Spec


class States(nn.Module):
    """No head: y as it is."""

    def __init__(self, spec: Spec):
        super().__init__()

    def forward(self, y: BTC, table: Tensor) -> BTC:
        return y


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


class CappedLM(LM):
    """logits = cap tanh(out(y) / cap): none is beyond +-cap, and the larger one is, the less it still moves.

    Gemma team (2024), "Gemma 2", section 2, with 30 for `cap`.
    """

    cap = 15.0

    def forward(self, y: BTC, table: Tensor) -> Tensor:
        return self.cap * torch.tanh(super().forward(y, table) / self.cap)  # B T V


class MaskedLM(nn.Module):
    """logits = norm(act(dense(y))) table^T + bias: which token belongs at each position, hidden there or not.

    J. Devlin et al. (2018), "BERT", section 3.1; the layer before the table is in the authors' published code.
    """

    def __init__(self, spec: Spec):
        super().__init__()
        self.act = spec.act
        self.dense = nn.Linear(spec.d_model, spec.d_model)
        self.norm = spec.norm(spec.d_model, eps=spec.eps)
        self.bias = nn.Parameter(torch.zeros(spec.n_vocab))

    def forward(self, y: BTC, table: Tensor) -> Tensor:
        return F.linear(self.norm(self.act(self.dense(y))), table, self.bias)  # B T V


class Pool(nn.Module):
    """act(dense(y_0)): one vector for a sequence, from its first token, which stands there for that alone.

    BERT, section 3.1, and the authors' published code.
    """

    def __init__(self, spec: Spec, act: Callable[[Tensor], Tensor] = torch.tanh):
        super().__init__()
        self.act = act
        self.dense = nn.Linear(spec.d_model, spec.d_model)

    def forward(self, y: BTC, table: Tensor) -> Tensor:
        return self.act(self.dense(y[:, 0]))  # B C


class NextSentence(nn.Module):
    """Two logits for a pair of sentences: the second follows the first, or it does not. BERT, section 3.1."""

    def __init__(self, spec: Spec):
        super().__init__()
        self.pool = Pool(spec)
        self.out = nn.Linear(spec.d_model, 2)

    def forward(self, y: BTC, table: Tensor) -> Tensor:
        return self.out(self.pool(y, table))  # B 2


class Pretraining(nn.Module):
    """Both of BERT's tasks at once: the logits of `MaskedLM` (B, T, V) and of `NextSentence` (B, 2)."""

    def __init__(self, spec: Spec):
        super().__init__()
        self.tokens, self.sentence = MaskedLM(spec), NextSentence(spec)

    def forward(self, y: BTC, table: Tensor) -> tuple[Tensor, Tensor]:
        return self.tokens(y, table), self.sentence(y, table)


class OfSequence(nn.Module):
    """logits = out(drop(pool(y))): spec.n_classes numbers for a sequence. BERT, section 4.1."""

    def __init__(self, spec: Spec, act: Callable[[Tensor], Tensor] = torch.tanh):
        super().__init__()
        self.pool, self.drop = Pool(spec, act), nn.Dropout(spec.p_dropout)
        self.out = nn.Linear(spec.d_model, spec.n_classes)

    def forward(self, y: BTC, table: Tensor) -> Tensor:
        return self.out(self.drop(self.pool(y, table)))  # B n_classes


class OfTokens(nn.Module):
    """logits = out(drop(y)): spec.n_classes numbers for each position, as in naming entities. BERT, section 5.3."""

    def __init__(self, spec: Spec):
        super().__init__()
        self.drop, self.out = nn.Dropout(spec.p_dropout), nn.Linear(spec.d_model, spec.n_classes)

    def forward(self, y: BTC, table: Tensor) -> Tensor:
        return self.out(self.drop(y))  # B T n_classes


class OfPrefixes(nn.Module):
    """logits = out(y): spec.n_classes numbers for the text up to each position, and no bias.

    The last token has seen the whole text, so a text's are logits[range(B), lengths - 1]; padding behind it is unseen.
    A. Radford et al. (2018), "Improving Language Understanding by Generative Pre-Training", section 3.2.
    """

    def __init__(self, spec: Spec):
        super().__init__()
        self.out = nn.Linear(spec.d_model, spec.n_classes, bias=False)

    def forward(self, y: BTC, table: Tensor) -> Tensor:
        return self.out(y)  # B T n_classes


class Span(nn.Module):
    """Two logits for each position: that an answer begins there, and that it ends there. BERT, section 4.2."""

    def __init__(self, spec: Spec):
        super().__init__()
        self.out = nn.Linear(spec.d_model, 2)

    def forward(self, y: BTC, table: Tensor) -> Tensor:
        return self.out(y)  # B T 2
