"""What is claimed of `lib.zoo.text_lstm`: a padded batch gives what each sentence gives alone, word by word."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from lib.layers import recurrent
from lib.zoo.text_lstm import TextLSTM
from tests.claims import Claim, difference, largest

TOLERANCE = 1e-10
CELLS = {nn.LSTM: recurrent.LSTMCell, nn.GRU: recurrent.GRUCell, recurrent.LSTM: nn.LSTMCell}


def by_words(model: TextLSTM, cell: type[nn.Module], ids: Tensor) -> Tensor:
    """The logits (n_classes,) of one sentence (T,): a cell steps over its words, once from each end."""
    x, ends = model.embed.weight[ids], []
    for direction, words in (("", x), ("_reverse", x.flip(0))):
        one = cell(x.shape[1], model.rnn.weight_hh_l0.shape[1]).double()
        one.load_state_dict({name: getattr(model.rnn, f"{name}_l0{direction}") for name in one.state_dict()})
        state = None
        for word in words:
            state = one(word[None], state)
        ends.append((state[0] if isinstance(state, tuple) else state)[0])
    return model.out.weight @ torch.cat(ends) + model.out.bias


def error(rnn: type[nn.Module], rng: np.random.Generator) -> float:
    """The largest difference of the logits of one ragged batch."""
    n_vocab, T, B = (int(rng.integers(4, 9)) for _ in range(3))
    model = TextLSTM(n_vocab, int(rng.integers(1, 5)), int(rng.integers(1, 5)), rnn=rnn).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.from_numpy(rng.normal(0, 0.2, tuple(p.shape))))
    lengths = torch.from_numpy(rng.integers(1, T + 1, B))
    inside = torch.arange(T) < lengths[:, None]
    words = torch.from_numpy(rng.integers(1, n_vocab, (B, T)))
    ours = model(words.where(inside, 0), lengths)
    theirs = torch.stack([by_words(model, CELLS[rnn], row[:n]) for row, n in zip(words, lengths.tolist(), strict=True)])
    return difference(ours.detach().numpy(), theirs.detach().numpy())


rngs = st.integers(0, 2**32 - 1).map(np.random.default_rng)
CLAIMS = [
    Claim(
        f"TextLSTM over {rnn.__module__.split('.')[0]}'s {rnn.__name__}",
        f"{cell.__module__.split('.')[0]}'s {cell.__name__}, sentence by sentence, float64: logits",
        TOLERANCE,
        partial(largest, rngs, partial(error, rnn), TOLERANCE),
    )
    for rnn, cell in CELLS.items()
]
