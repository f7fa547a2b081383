"""What every way of decoding begins with, and what ends it: prompts, room, feeding a model, stops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from lib.layers.pos import Learned
from lib.shapes import BTC, require
from lib.stack import Model, State

Prompts = Iterable[Sequence[int] | Tensor]
"""Ids of each row; the rows may be of different lengths."""
Start = Callable[[int, int], State]
"""start(n_rows, size) -> State, as `Model.start`."""
Rows = list[list[int]]


def read(prompts: Prompts) -> Rows:
    """The prompts as lists. ValueError where there is none, one is empty, or one is no row of whole numbers."""
    require(not isinstance(prompts, str), "a prompt is a list of ids, not text: encode it first")
    rows = []
    for i, prompt in enumerate(prompts):
        require(not isinstance(prompt, int | str), f"prompts are a list of lists of ids, but entry {i} is {prompt!r}")
        ids = torch.as_tensor(prompt)
        require(ids.dim() != 0, "prompts are a list of lists of ids, one for each row: put a single prompt in a list")
        require(ids.numel() > 0, f"prompt {i} is empty: give at least one id, such as the one that begins a text")
        whole = not (ids.is_floating_point() or ids.dtype == torch.bool) and ids.dim() == 1
        require(whole, f"prompt {i} must be a row of whole numbers, not {ids.dtype} of shape {tuple(ids.shape)}")
        rows.append(ids.tolist())
    require(bool(rows), "there is no prompt")
    return rows


def open_state(model: Model, rows: Rows, n_new: int, start: Start | None, n_read: int | None = None) -> State:
    """A state with room for each row and the n_read new ids that the model reads: all but the last of n_new, if None.

    ValueError where the model is in training mode, or its table of positions is too short.
    """
    require(not model.training, "the model is in training mode, so dropout would change its answers: call model.eval()")
    whole = isinstance(n_new, int) and not isinstance(n_new, bool)
    require(whole and n_new >= 1, f"n_new is a whole number of new ids, at least 1, not {n_new!r}")
    longest, pos = max(map(len, rows)), model.body.embed.pos
    size = longest + (n_new - 1 if n_read is None else n_read)
    if isinstance(pos, Learned):
        need = f"a prompt of {longest} ids and {n_new} new ones"
        most = f"the model's table of positions has {len(pos.weight)} rows"
        require(size <= len(pos.weight), f"{need} are too long: {most}. Shorten the prompt, or ask for less")
    return (start or model.start)(len(rows), size)


def feed(model: Model, state: State, rows: Rows) -> BTC:
    """Read the new ids of each row, which may be of different lengths: their last hidden states (B, T, C)."""
    lengths = [len(row) for row in rows]
    T = max(lengths)
    ids = torch.tensor([row + [0] * (T - len(row)) for row in rows], device=model.body.embed.tokens.weight.device)
    return model.body.step(ids, state, None if min(lengths) == T else lengths)


def last(y: BTC, rows: Rows) -> BTC:
    """The hidden state of the last id of each row: (B, 1, C)."""
    return torch.stack([y[i, len(row) - 1] for i, row in enumerate(rows)]).unsqueeze(1)


def logits_of(model: Model, y: BTC) -> Tensor:
    """The head's answer to hidden states (B, T, C): (B, T, V)."""
    return model.head(y, model.body.embed.tokens.weight)


class Stop:
    """Is an answer at its end? Where its last id is one of these, or its text holds one of these strings.

    stop: ids and strings, in any mixture. decode: from ids to text, such as `tokenizer.decode`, if there are strings.
    The text of the whole answer is looked at after each id: a string may begin within one token and end in another.
    ValueError for anything else, and for strings without `decode`.
    """

    def __init__(self, stop: Iterable[int | str], decode: Callable[[list[int]], str] | None):
        require(not isinstance(stop, str), f"stop is a list of ids and strings: write [{stop!r}]")
        wrong = f"stop is a list of ids and strings, not {stop!r}"
        require(isinstance(stop, Iterable), wrong)
        self.ids: set[int] = set()
        self.strings: list[str] = []
        for one in stop:
            known = isinstance(one, int | str) and not isinstance(one, bool)
            require(known, f"to stop at, an id or a string, not {one!r} of type {type(one).__name__}")
            require(one != "", "every text holds the empty string: it cannot be stopped at")
            self.strings.append(one) if isinstance(one, str) else self.ids.add(one)
        require(not self.strings or decode is not None, "to stop at a string, give decode=tokenizer.decode as well")
        self.decode: Any = decode

    def __call__(self, answer: list[int]) -> bool:
        if answer[-1] in self.ids:
            return True
        text = self.decode(answer) if self.strings else ""
        return any(string in text for string in self.strings)
