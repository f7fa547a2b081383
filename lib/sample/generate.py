"""One token after the other: greedy or drawn at random, many rows at once, as a stream or as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from lib.sample.filters import Filter, MinP, Temperature, TopK, TopP, apply
from lib.sample.run import Prompts, Rows, Start, Stop, feed, last, logits_of, open_state, read
from lib.shapes import BV, require
from lib.stack import Model, State


class Pick(Protocol):
    """How a token is taken from filtered logits."""

    def __call__(self, logits: BV) -> Tensor:
        """The id that each row takes: (B,)."""
        ...

    def shares(self, logits: BV) -> BV:
        """The probability of each id to be taken."""
        ...


class Greedy:
    """The likeliest token every time; of equally likely ones, the lowest id."""

    def __call__(self, logits: BV) -> Tensor:
        return logits.argmax(-1)

    def shares(self, logits: BV) -> BV:
        return torch.zeros_like(logits).scatter(-1, logits.argmax(-1, keepdim=True), 1)


class Draw:
    """A token at random, each with its probability softmax(logits).

    seed: a whole number, or a torch.Generator on the model's device. The same seed gives the same ids for the same call
    on the same machine; one Draw that serves several calls goes on with the next random numbers.
    """

    def __init__(self, seed: int | torch.Generator):
        known = isinstance(seed, int | torch.Generator) and not isinstance(seed, bool)
        require(known, f"a seed is a whole number or a torch.Generator, not {seed!r}")
        self.seed = seed
        self._generator = seed if isinstance(seed, torch.Generator) else None

    def __call__(self, logits: BV) -> Tensor:
        return self.take(self.shares(logits))

    def shares(self, logits: BV) -> BV:
        return logits.softmax(-1)

    def take(self, shares: BV) -> Tensor:
        """An id for each row from its probabilities (B, V): (B,)."""
        return torch.multinomial(shares, 1, generator=self.generator(shares.device)).squeeze(-1)

    def generator(self, device: torch.device) -> torch.Generator:
        """The source of random numbers, made with the first token, when the device is known."""
        if self._generator is None:
            assert isinstance(self.seed, int)
            self._generator = torch.Generator(device).manual_seed(self.seed)
        return self._generator


def generate(
    model: Model,
    prompts: Prompts,
    n_new: int,
    *,
    filters: Sequence[Filter] = (),
    pick: Pick | None = None,
    stop: Iterable[int | str] = (),
    decode: Callable[[list[int]], str] | None = None,
    start: Start | None = None,
    watch: Callable[[list[int | None]], None] | None = None,
) -> Rows:
    """The ids that continue each prompt, the prompt not among them: at most n_new, up to the stop, and that included.

    filters   what is done to logits before a token is taken (filters.py), the first one first
    pick      how it is taken: `Greedy()` if None, or `Draw(seed=0)`
    stop      ids and strings that end an answer; strings need `decode`, from ids to text
    start     start(n_rows, size) -> State, for other caches or an encoder: lambda n, size: model.start(source, size)
    watch     called after each step with the new id of every row, None for rows that are done

    Prompts may be of different lengths, and each gets the answer that it gets alone. ValueError for: an empty prompt, a
    prompt longer than the model's table of positions, a model in training mode, logits with a NaN, a filter that has no
    effect on the likeliest token.
    """
    answers: Rows = []
    for step in stream(model, prompts, n_new, filters=filters, pick=pick, stop=stop, decode=decode, start=start):
        answers = answers or [[] for _ in step]
        for answer, i in zip(answers, step, strict=True):
            if i is not None:
                answer.append(i)
        if watch is not None:
            watch(step)
    return answers


def stream(
    model: Model,
    prompts: Prompts,
    n_new: int,
    *,
    filters: Sequence[Filter] = (),
    pick: Pick | None = None,
    stop: Iterable[int | str] = (),
    decode: Callable[[list[int]], str] | None = None,
    start: Start | None = None,
) -> Iterator[list[int | None]]:
    """What `generate` returns, step by step: the new id of every row, None for rows that are done."""
    pick = Greedy() if pick is None else pick
    for one in filters:
        idle = isinstance(pick, Greedy) and isinstance(one, Temperature | TopK | TopP | MinP)
        require(not idle, f"{one} has no effect on the likeliest token: leave it out, or draw with pick=Draw(seed=0)")
    rows = read(prompts)
    state = open_state(model, rows, n_new, start)
    return _steps(model, state, rows, n_new, filters, pick, Stop(stop, decode))


@torch.no_grad()
def _steps(
    model: Model, state: State, rows: Rows, n_new: int, filters: Sequence[Filter], pick: Pick, done: Stop
) -> Iterator[list[int | None]]:
    longest = max(map(len, rows))
    seen = torch.tensor([row + [-1] * (longest + n_new - len(row)) for row in rows])
    logits = logits_of(model, last(feed(model, state, rows), rows))[:, 0]
    seen = seen.to(logits.device)
    going, answers = list(range(len(rows))), [[] for _ in rows]
    for t in range(longest, longest + n_new):
        ids = pick(apply(filters, logits, seen[:, :t]))
        seen[:, t] = ids
        step: list[int | None] = [None] * len(rows)
        stay = []
        for i, (row, new) in enumerate(zip(going, ids.tolist(), strict=True)):
            step[row] = new
            answers[row].append(new)
            if not done(answers[row]):
                stay.append(i)
        yield step
        if not stay or t == longest + n_new - 1:
            return
        if len(stay) < len(going):  # rows that are done leave the batch
            keep = torch.tensor(stay, device=ids.device)
            state.reorder(keep)
            ids, seen, going = ids[keep], seen[keep], [going[i] for i in stay]
        logits = model.step(ids.unsqueeze(1), state)[:, 0]


def pieces(ids: Iterable[int | None], decode: Callable[[list[int]], str]) -> Iterator[str]:
    """The text of ids as they come, piece by piece: for what is shown while it is being written.

    A character may be spread over several tokens; it is held back until it is whole, and what never becomes whole comes
    with the last piece.

        for piece in pieces((step[0] for step in stream(model, [prompt], 100)), tokenizer.decode):
            print(piece, end="", flush=True)
    """
    so_far: list[int] = []
    shown = text = ""
    for i in ids:
        if i is None:  # this row is done, others go on
            break
        so_far.append(i)
        text = decode(so_far)
        if not text.endswith("\N{REPLACEMENT CHARACTER}") and len(text) > len(shown):
            yield text[len(shown) :]
            shown = text
    if len(text) > len(shown):
        yield text[len(shown) :]
