"""Checks of 42_transformer on the whole model: its parameters, and decoding with a cache."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from numpy.random import Generator
from torch import Tensor

from lib.checks import Case, Exercise, Misconception
from lib.tokens.vocabulary import BOS, EOS, PAD

LESSON = "of 42_transformer"

# 42.6 -----------------------------------------------------------------------------------------------------------------


def _sizes(C: int, F: int) -> tuple[int, int, int]:
    """The parameters of one attention layer, one feed-forward layer, one norm."""
    return 4 * (C * C + C), C * F + F + F * C + C, 2 * C


def n_parameters(n_vocab: int, d_model: int, d_ff: int, n_layers: int) -> int:
    look, feed, norm = _sizes(d_model, d_ff)
    return n_vocab * d_model + n_layers * (look + feed + 2 * norm) + n_layers * (2 * look + feed + 3 * norm)


def _count_by_shapes(n_vocab, d_model, d_ff, n_layers):
    C, F = d_model, d_ff
    look = [(C, C), (C,)] * 4
    feed, norm = [(C, F), (F,), (F, C), (C,)], [(C,), (C,)]
    encoder, decoder = look + feed + norm * 2, look * 2 + feed + norm * 3
    return sum(math.prod(shape) for shape in [(n_vocab, C), *(encoder + decoder) * n_layers])


def _count_without_cross(V, C, F, N):
    look, _, norm = _sizes(C, F)
    return n_parameters(V, C, F, N) - N * (look + norm)


def _count_without_third_norm(V, C, F, N):
    return n_parameters(V, C, F, N) - N * _sizes(C, F)[2]


def _count_without_biases(V, C, F, N):
    return V * C + N * (12 * C * C + 4 * C * F)


def _count_three_matrices(V, C, F, N):
    return n_parameters(V, C, F, N) - 3 * N * (C * C + C)


def _count_output_apart(V, C, F, N):
    return n_parameters(V, C, F, N) + V * C


def _count_two_languages(V, C, F, N):
    return n_parameters(V, C, F, N) + 2 * V * C


def _count_encoder(V, C, F, N):
    look, feed, norm = _sizes(C, F)
    return V * C + N * (look + feed + 2 * norm)


def _count_final_norms(V, C, F, N):
    return n_parameters(V, C, F, N) + 4 * C


def _count_without_norms(V, C, F, N):
    return n_parameters(V, C, F, N) - 5 * N * 2 * C


def _sizes_case(rng: Generator) -> tuple:
    V, half, F, N = (int(rng.integers(low, high)) for low, high in ((50, 900), (2, 20), (41, 160), (2, 7)))
    return V, 2 * half, F, N


# 42.7 -----------------------------------------------------------------------------------------------------------------


def write(start: Callable, step: Callable, source: Tensor, n_steps: int) -> Tensor:
    state, last = start(source), torch.full((len(source), 1), BOS)
    done, rows = torch.zeros(len(source), dtype=torch.bool), []
    while len(rows) < n_steps and not done.all():
        piece = step(last, state)[:, -1].argmax(dim=-1).masked_fill(done, PAD)
        done = done | (piece == EOS)
        rows.append(piece)
        last = piece[:, None]
    return torch.stack(rows, dim=1)


def _write_lists(start, step, source, n_steps):
    state, rows = start(source), [[BOS] for _ in source]
    for _ in range(n_steps):
        best = step(torch.tensor([row[-1:] for row in rows]), state).argmax(-1).squeeze(1).tolist()
        rows = [[*row, PAD if EOS in row else k] for row, k in zip(rows, best, strict=True)]
        if all(EOS in row for row in rows):
            break
    return torch.tensor(rows)[:, 1:]


def _write_with(start, step, source, n_steps, first=BOS, stop=True, early=True, whole=False, shift=0):
    state, ids = start(source), torch.full((len(source), 1), first)
    done = torch.zeros(len(source), dtype=torch.bool)
    while ids.shape[1] <= n_steps and not (early and done.all()):
        piece = step(ids if whole else ids[:, -1:], state)[:, -1].argmax(-1)
        piece = piece.masked_fill(done, PAD) if stop else piece
        done |= piece == EOS
        ids = torch.cat([ids, piece[:, None]], 1)
    return ids[:, 1 - shift :]


def _write_all_again(*args):
    return _write_with(*args, whole=True)


def _write_from_pad(*args):
    return _write_with(*args, first=PAD)


def _write_past_the_end(*args):
    return _write_with(*args, stop=False)


def _write_to_the_end(*args):
    return _write_with(*args, early=False)


def _write_with_bos(*args):
    return _write_with(*args, shift=1)


def _write_reads_again(start, step, source, n_steps):
    ids, done = torch.full((len(source), 1), BOS), torch.zeros(len(source), dtype=torch.bool)
    while ids.shape[1] <= n_steps and not done.all():
        piece = step(ids, start(source))[:, -1].argmax(-1).masked_fill(done, PAD)
        done |= piece == EOS
        ids = torch.cat([ids, piece[:, None]], 1)
    return ids[:, 1:]


def _write_stops_with_the_first(start, step, source, n_steps):
    ids = write(start, step, source, n_steps)
    return ids[:, : int((ids == EOS).any(0).int().argmax()) + 1] if (ids == EOS).any() else ids


def _toy_model(answer: Callable, table: Tensor, source: Tensor, n_steps: int) -> Any:
    """Run the answer on a toy: table[row, position % n, piece] holds the logits of what follows."""
    reads = []

    def start(ids: Tensor) -> dict:
        if reads:
            raise ValueError("start was called a second time: the source is read once, before the first step.")
        reads.append(ids)
        return {"position": 0}

    def step(ids: Tensor, state: dict) -> Tensor:
        if not isinstance(ids, Tensor) or ids.ndim != 2 or len(ids) != len(table):
            shape = tuple(ids.shape) if isinstance(ids, Tensor) else type(ids).__name__
            raise ValueError(f"step takes the new pieces, ids of shape ({len(table)}, k); it got {shape}.")
        at = state["position"] + torch.arange(ids.shape[1])
        state["position"] += ids.shape[1]
        return table[torch.arange(len(table))[:, None], at % table.shape[1], ids]

    return answer(start, step, source, n_steps)


def _toy_case(rng: Generator) -> tuple:
    n, n_positions, V, n_steps = 3, 7, 8, 6
    table = torch.from_numpy(rng.normal(0, 1, (n, n_positions, V, V)))
    table[..., [PAD, BOS]] = -20.0
    table[..., EOS] = -10.0
    for row, length in enumerate((1, 3, 4)):  # all rows end early, each at a place of its own
        table[row, length, :, EOS] = 10.0
    return table, torch.from_numpy(rng.integers(4, V, (n, 5))), n_steps


def _endless_case(rng: Generator) -> tuple:
    table, source, n_steps = _toy_case(rng)
    table[2, :, :, EOS] = -10.0  # and here one row never does
    return table, source, n_steps


EXERCISES = [
    Exercise(
        "42.6",
        "How many parameters",
        minutes=15,
        difficulty=2,
        reference=n_parameters,
        cases=[_sizes_case, Case("the paper's base model", 37_000, 512, 2048, 6)],
        misconceptions=[
            Misconception(
                "forgets cross-attention and its norm",
                _count_without_cross,
                why="A decoder block has three layers: self-attention, cross-attention, feed-forward.",
                look=f"Section 4 {LESSON}",
            ),
            Misconception(
                "counts two norms in a decoder block",
                _count_without_third_norm,
                why="Each of the three layers has a norm of its own.",
                look=f"Section 4 {LESSON}",
            ),
            Misconception(
                "counts matrices alone, without biases and norms",
                _count_without_biases,
                why="Every linear layer has a bias, and every norm a scale and a shift.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "counts three matrices in attention",
                _count_three_matrices,
                why="Queries, keys, values, and the output: four.",
                look="Section 6 of 41_attention, 'Heads, and the layer'",
            ),
            Misconception(
                "counts a table of its own for the logits",
                _count_output_apart,
                why="The logits use the table of the embeddings, transposed.",
                look=f"Section 2 {LESSON}",
            ),
            Misconception(
                "counts a table for each language and one for the logits",
                _count_two_languages,
                why="Here one table serves both languages and the logits.",
                look=f"Section 2 {LESSON}",
            ),
            Misconception(
                "counts the encoder alone",
                _count_encoder,
                why="There are n_layers blocks in the encoder and n_layers in the decoder.",
                look=f"Section 1 {LESSON}",
            ),
            Misconception(
                "adds final norms",
                _count_final_norms,
                why="The original is post-norm: its last block ends with a norm, and none stands behind it.",
                look=f"Section 3 {LESSON}, 'Before or after?'",
            ),
            Misconception(
                "forgets the norms",
                _count_without_norms,
                why="A norm has a scale and a shift, 2 C numbers. An encoder block has two, a decoder block three.",
                look=f"Section 3 {LESSON}, 'The residual stream'",
            ),
        ],
        hints=(
            "Count one attention layer, one feed-forward layer, one norm. How many of each are there?",
            "Attention: 4 (C C + C). Feed-forward: C F + F + F C + C. A norm: 2 C. The table: V C, once.",
            "An encoder block: one attention, one feed-forward, two norms. A decoder block: two, one, three.",
        ),
        alternatives=[_count_by_shapes],
        names=("n_vocab", "d_model", "d_ff", "n_layers"),
    ),
    Exercise(
        "42.7",
        "Writing with a cache",
        minutes=20,
        difficulty=3,
        reference=write,
        use=_toy_model,
        cases=[_toy_case, _endless_case],
        misconceptions=[
            Misconception(
                "gives step all pieces again",
                _write_all_again,
                why="The state holds what was given before. Given again, a piece stands in the text twice: step takes "
                "the new pieces alone.",
                look=f"Section 8 {LESSON}",
            ),
            Misconception(
                "reads the source anew for each piece",
                _write_reads_again,
                why="The source does not change, so start is called once, before the loop.",
                look=f"Section 8 {LESSON}",
            ),
            Misconception(
                "begins with PAD instead of BOS",
                _write_from_pad,
                why="In training the first input of the decoder is BOS.",
                look=f"Section 6 {LESSON}",
            ),
            Misconception(
                "goes on writing after EOS",
                _write_past_the_end,
                why="A row that has written EOS is done, and gets PAD while the others go on.",
                look=f"Section 8 {LESSON}",
            ),
            Misconception(
                "goes on when all rows are done",
                _write_to_the_end,
                why="Once each row has its EOS, there is nothing to write: stop, and return no more columns.",
                look=f"Section 8 {LESSON}",
            ),
            Misconception(
                "stops when the first row is done",
                _write_stops_with_the_first,
                why="The other rows are not finished. Stop when *all* rows are done.",
                look=f"Section 8 {LESSON}",
            ),
            Misconception(
                "returns BOS as well",
                _write_with_bos,
                why="BOS was given, not written. Return what the model wrote.",
                look=f"Section 8 {LESSON}",
            ),
        ],
        hints=(
            "What does step need to be told at each step, and what does the state know already?",
            "state = start(source), once. Then give step the last pieces, (n, 1): argmax of logits[:, -1].",
            "piece = step(last, state)[:, -1].argmax(-1).masked_fill(done, PAD); done |= piece == EOS",
        ),
        alternatives=[_write_lists],
        names=("table", "source", "n_steps"),
    ),
]
