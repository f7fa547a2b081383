"""BERT for little text and a small machine. Its positions begin as waves, not as noise."""

from __future__ import annotations

import torch

from lib.attention.backends import attention
from lib.layers.pos import Learned, Sinusoidal
from lib.spec import add
from lib.stack import Model, normal
from lib.zoo.bert import bert

BASE = 100.0
"""The longest wave is then some 600 places long, for rows of 64; the 10,000 of 2017 is for longer ones."""


@torch.no_grad()
def waves(model: Model) -> None:
    """As `normal`, but the table of positions begins as the sinusoids of 2017, with the same spread as the tokens.

    Rows that stand close to each other are then alike from the start, where a random table has to learn from much text
    which positions are neighbours.
    """
    normal(model)
    for table in (module.weight for module in model.modules() if isinstance(module, Learned)):
        wave = Sinusoidal(table.shape[1], BASE).on_embed(torch.zeros_like(table)[None], torch.arange(len(table)))[0]
        table.copy_(wave * model.spec.std * 2**0.5)  # the mean square of a sine is 1/2


mini_bert = add(
    bert.but(
        name="mini-bert", parent="bert", n_vocab=6000, n_positions=64, n_layers=2, n_heads=4, d_model=128, d_ff=512,
        p_dropout=0.0, p_attend=0.0, std=0.05, attend=attention, init=waves,
    )
)  # fmt: skip
