"""A sentence to a class: word vectors, a recurrent layer that reads in both directions, its two last states.

Source: A. Graves, J. Schmidhuber (2005), "Framewise Phoneme Classification with Bidirectional LSTM", for the two
directions; chapter 31 for the rest.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

PAD, UNKNOWN = 0, 1
"""The ids of padding and of every word that is not in the vocabulary."""


class TextLSTM(nn.Module):
    """ids (B, T) and lengths (B,) to logits (B, n_classes). What stands beyond a sentence's length is never read.

    `rnn` is a class with the interface of nn.LSTM: nn.GRU, or LSTM, GRU and RNN of lib.layers.recurrent.
    ValueError where a length is not from 1 to T.
    """

    def __init__(
        self,
        n_vocab: int,
        d_embed: int = 64,
        d_hidden: int = 32,
        n_classes: int = 2,
        p_dropout: float = 0.5,
        rnn: type[nn.Module] = nn.LSTM,
    ):
        super().__init__()
        self.embed = nn.Embedding(n_vocab, d_embed, padding_idx=PAD)
        self.rnn = rnn(d_embed, d_hidden, batch_first=True, bidirectional=True)
        self.drop = nn.Dropout(p_dropout)
        self.out = nn.Linear(2 * d_hidden, n_classes)
        with torch.no_grad():
            self.embed.weight *= 0.3  # torch's unit variance would drive the gates into their flat ends

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        T = ids.shape[1]
        if not ((lengths >= 1) & (lengths <= T)).all():
            raise ValueError(f"A length is from 1 to {T}, the width of the batch; got {lengths.tolist()}.")
        x = self.drop(self.embed(ids))  # B T E
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        state = self.rnn(packed)[1]
        h = state[0] if isinstance(state, tuple) else state  # 2 B H: the last state of each direction
        return self.out(self.drop(torch.cat([h[0], h[1]], dim=1)))  # B n_classes
