"""A recurrent model of names, letter by letter, told which nation the name is from.

A name stands between two marks: `ids` begins with MARK, `targets` ends with it. The model reads ids[t], and is to say
targets[t] = ids[t + 1]. Behind a name's end, ids hold MARK and targets NOTHING, which torch's cross-entropy leaves out.

Source: the plain recurrent language model of T. Mikolov et al. (2010), "Recurrent neural network based language model",
over letters as in I. Sutskever, J. Martens and G. Hinton (2011), "Generating Text with Recurrent Neural Networks".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

MARK, NOTHING = 0, -100
"""The id of the mark before and after a name; the target where there is nothing to predict."""


def encode(names: Sequence[str], alphabet: str) -> tuple[Tensor, Tensor]:
    """Names -> ids and targets, both (B, T), T the longest name and its closing mark; alphabet[0] is the mark."""
    number = {letter: i for i, letter in enumerate(alphabet)}
    if strange := sorted({letter for name in names for letter in name} - set(number)):
        raise ValueError(f"the alphabet lacks {strange}; build it from every name that it is to spell")
    ids = torch.full((len(names), max(map(len, names)) + 1), MARK)
    targets = torch.full_like(ids, NOTHING)
    for row, name in enumerate(names):
        letters = torch.tensor([number[letter] for letter in name])
        ids[row, 1 : len(name) + 1] = letters
        targets[row, : len(name)] = letters
        targets[row, len(name)] = MARK
    return ids, targets


class CharRNN(nn.Module):
    """x_t = E[id_t] + N[nation],  h_t = layer(x_t, h_{t-1}),  logits_t = W h_t + b.

    `layer` is a class, say torch.nn.RNN or lib.layers.recurrent.GRU: layer(d_embed, d_hidden, batch_first=True).
    """

    def __init__(
        self, n_chars: int, n_nations: int, d_embed: int = 32, d_hidden: int = 128, layer: Callable = nn.RNN
    ) -> None:
        super().__init__()
        self.chars = nn.Embedding(n_chars, d_embed)
        self.nations = nn.Embedding(n_nations, d_embed)
        self.layer = layer(d_embed, d_hidden, batch_first=True)
        self.out = nn.Linear(d_hidden, n_chars)

    def forward(self, ids, nation, state=None):
        """ids (B, T), nation (B,), a state of the layer or None -> logits (B, T, n_chars) and the last state."""
        x = self.chars(ids) + self.nations(nation).unsqueeze(1)  # B T C
        y, state = self.layer(x, state)
        return self.out(y), state


@torch.no_grad()
def sample(model, nation, temperature=1.0, longest=30, generator=None):
    """Draw one name for each nation (B,) -> ids (B, longest), MARK from each name's end on.

    p = softmax(logits / temperature): below 1 the likely becomes likelier still, above 1 all become more alike.
    """
    if temperature <= 0:
        raise ValueError(f"the temperature divides the logits: it must be above 0, not {temperature}")
    ids, state, drawn = torch.full_like(nation, MARK), None, []
    ended = torch.zeros_like(nation, dtype=torch.bool)
    for _ in range(longest):
        logits, state = model(ids.unsqueeze(1), nation, state)
        p = (logits[:, -1] / temperature).softmax(dim=-1)
        ids = torch.multinomial(p, 1, generator=generator).squeeze(1).masked_fill(ended, MARK)
        ended |= ids == MARK
        drawn.append(ids)
    return torch.stack(drawn, dim=1)  # B T


def decode(ids: Tensor, alphabet: str) -> list[str]:
    """ids (B, T) of names that were sampled -> the names, each up to its first mark."""
    return ["".join(alphabet[i] for i in row).split(alphabet[MARK])[0] for row in ids.tolist()]
