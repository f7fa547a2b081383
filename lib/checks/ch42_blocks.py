"""Checks of 42_transformer on the parts of a block: vectors and positions, the two residuals, the decoder block."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from numpy.random import Generator, default_rng
from torch import Tensor

from lib.checks import Case, Exercise, Misconception

LESSON = "of 42_transformer"


def _normal(rng: Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.normal(0, 1, shape))


# 42.1 -----------------------------------------------------------------------------------------------------------------


def enter(ids: Tensor, table: Tensor, positions: Tensor) -> Tensor:
    return math.sqrt(table.shape[1]) * table[ids] + positions[: ids.shape[1]]


def _enter_one_hot(ids, table, positions):
    chosen = torch.nn.functional.one_hot(ids, len(table)).to(table.dtype)
    return chosen @ table * table.shape[1] ** 0.5 + positions[torch.arange(ids.shape[1])][None]


def _enter_unscaled(ids, table, positions):
    return table[ids] + positions[: ids.shape[1]]


def _enter_both_scaled(ids, table, positions):
    return math.sqrt(table.shape[1]) * (table[ids] + positions[: ids.shape[1]])


def _enter_divided(ids, table, positions):
    return table[ids] / math.sqrt(table.shape[1]) + positions[: ids.shape[1]]


def _enter_no_root(ids, table, positions):
    return table[ids] * table.shape[1] + positions[: ids.shape[1]]


def _enter_by_entries(ids, table, positions):
    return math.sqrt(table.shape[0]) * table[ids] + positions[: ids.shape[1]]


def _enter_position_of_id(ids, table, positions):
    return math.sqrt(table.shape[1]) * table[ids] + positions[ids]


def _enter_nowhere(ids, table, positions):
    return math.sqrt(table.shape[1]) * table[ids]


def _ids_case(rng: Generator) -> tuple:
    B, T, V, C = (int(rng.integers(low, high)) for low, high in ((2, 4), (3, 6), (7, 11), (2, 6)))
    return torch.from_numpy(rng.integers(0, V, (B, T))), _normal(rng, V, C), _normal(rng, 12, C)


# 42.3 -----------------------------------------------------------------------------------------------------------------


def both(x: Tensor, f: Callable, norm: Callable) -> tuple[Tensor, Tensor]:
    return x + f(norm(x)), norm(x + f(x))


def _both_in_steps(x, f, norm):
    read = norm(x)
    total = torch.add(x, f(x))
    return torch.add(f(read), x), norm(total)


def _both_swapped(x, f, norm):
    return both(x, f, norm)[::-1]


def _pre_without_residual(x, f, norm):
    return f(norm(x)), norm(x + f(x))


def _no_residual(x, f, norm):
    return f(norm(x)), norm(f(x))


def _pre_adds_to_the_normed(x, f, norm):
    return norm(x) + f(norm(x)), norm(x + f(x))


def _pre_norms_the_answer(x, f, norm):
    return x + norm(f(x)), norm(x + f(x))


def _pre_norms_the_sum_too(x, f, norm):
    return norm(x + f(norm(x))), norm(x + f(x))


def _post_norms_the_answer(x, f, norm):
    return x + f(norm(x)), x + norm(f(x))


def _post_reads_the_normed(x, f, norm):
    return x + f(norm(x)), norm(x + f(norm(x)))


def _post_bypasses_the_norm(x, f, norm):
    return x + f(norm(x)), x + norm(x + f(x))


def _layer_norm(x: Tensor) -> Tensor:
    return torch.nn.functional.layer_norm(x, x.shape[-1:])


def _with_layers(answer: Callable, x: Tensor, w: Tensor, g: Tensor) -> Any:
    """Run the answer with a small layer f and a norm that scales by g."""
    return answer(x, lambda x: torch.tanh(x @ w) + 0.5, lambda x: g * _layer_norm(x))


def _stream_case(rng: Generator) -> tuple:
    C = int(rng.integers(3, 6))
    return 3 * _normal(rng, 2, int(rng.integers(2, 5)), C) + 1, _normal(rng, C, C), _normal(rng, C)


# 42.4 -----------------------------------------------------------------------------------------------------------------


def decoder_block(x: Tensor, memory: Tensor, mix: Callable, cross: Callable, ff: Callable, norms: list) -> Tensor:
    x = x + mix(norms[0](x))
    x = x + cross(norms[1](x), memory)
    return x + ff(norms[2](x))


def _decoder_loop(x, memory, mix, cross, ff, norms):
    layers = [mix, lambda x: cross(x, memory), ff]
    for layer, norm in zip(layers, norms, strict=True):
        x = layer(norm(x)) + x
    return x


def _asks_with_the_memory(x, memory, mix, cross, ff, norms):
    x = x + mix(norms[0](x))
    x = x + cross(memory, norms[1](x))
    return x + ff(norms[2](x))


def _looks_at_itself(x, memory, mix, cross, ff, norms):
    x = x + mix(norms[0](x))
    x = x + cross(norms[1](x), norms[1](x))
    return x + ff(norms[2](x))


def _asks_with_the_input(x, memory, mix, cross, ff, norms):
    y = x + mix(norms[0](x))
    y = y + cross(norms[1](x), memory)
    return y + ff(norms[2](y))


def _all_read_the_input(x, memory, mix, cross, ff, norms):
    return x + mix(norms[0](x)) + cross(norms[1](x), memory) + ff(norms[2](x))


def _feeds_first(x, memory, mix, cross, ff, norms):
    x = x + mix(norms[0](x))
    x = x + ff(norms[2](x))
    return x + cross(norms[1](x), memory)


def _looks_first(x, memory, mix, cross, ff, norms):
    x = x + cross(norms[1](x), memory)
    x = x + mix(norms[0](x))
    return x + ff(norms[2](x))


def _cross_without_residual(x, memory, mix, cross, ff, norms):
    x = x + mix(norms[0](x))
    x = cross(norms[1](x), memory)
    return x + ff(norms[2](x))


def _never_looks(x, memory, mix, cross, ff, norms):
    x = x + mix(norms[0](x))
    return x + ff(norms[2](x))


def _norms_the_memory(x, memory, mix, cross, ff, norms):
    x = x + mix(norms[0](x))
    x = x + cross(norms[1](x), norms[1](memory))
    return x + ff(norms[2](x))


def _post_norm_block(x, memory, mix, cross, ff, norms):
    x = norms[0](x + mix(x))
    x = norms[1](x + cross(x, memory))
    return norms[2](x + ff(x))


def _one_norm(x, memory, mix, cross, ff, norms):
    return decoder_block(x, memory, mix, cross, ff, [norms[0]] * 3)


def _unnormed(x, memory, mix, cross, ff, norms):
    return decoder_block(x, memory, mix, cross, ff, [lambda x: x] * 3)


def _with_block(answer: Callable, x: Tensor, memory: Tensor, w: Tensor, g: Tensor) -> Any:
    """Run the answer with a causal mean, a one-headed look at a memory, a layer, and three norms of scales g."""

    def mix(x: Tensor) -> Tensor:
        n = torch.arange(1, x.shape[1] + 1, dtype=x.dtype)[:, None]
        return (x.cumsum(dim=1) / n) @ w[0]

    def cross(x: Tensor, memory: Tensor) -> Tensor:
        return (x @ w[1] @ memory.mT).softmax(dim=-1) @ memory

    def ff(x: Tensor) -> Tensor:
        return torch.tanh(x @ w[2]) + 0.5

    return answer(x, memory, mix, cross, ff, [lambda x, s=s: s * _layer_norm(x) for s in g])


def _block_case(rng: Generator, T: int = 3, S: int = 5) -> tuple:
    return 2 * _normal(rng, 2, T, 4) + 1, 2 * _normal(rng, 2, S, 4) - 1, _normal(rng, 3, 4, 4), _normal(rng, 3, 4)


def _square_case(rng: Generator) -> tuple:
    return _block_case(rng, 4, 4)


EXERCISES = [
    Exercise(
        "42.1",
        "Into the stack",
        minutes=10,
        difficulty=1,
        reference=enter,
        cases=[_ids_case],
        misconceptions=[
            Misconception(
                "forgets the factor",
                _enter_unscaled,
                why="Rows of the table have a length of about 1, the positions one of sqrt(C / 2): the words would "
                "drown. Multiply the rows by the root of the width C.",
                look=f"Section 2 {LESSON}",
            ),
            Misconception(
                "multiplies the positions by the root as well",
                _enter_both_scaled,
                why="Then nothing is gained: words and positions keep their proportion. The factor is for the rows of "
                "the table alone.",
                look=f"Section 2 {LESSON}",
            ),
            Misconception(
                "divides by the root",
                _enter_divided,
                why="That is for the scores of attention, which are too large. Here the rows are too small: multiply.",
                look=f"Section 2 {LESSON}",
            ),
            Misconception(
                "multiplies by C and not by its root",
                _enter_no_root,
                why="A row has C numbers of spread 1 / sqrt(C); times sqrt(C) they have a spread of 1.",
                look=f"Section 2 {LESSON}",
            ),
            Misconception(
                "takes the root of the number of entries",
                _enter_by_entries,
                why="How many words there are does not matter to the length of a row. C is the width, table.shape[1].",
                look=f"Section 2 {LESSON}",
            ),
            Misconception(
                "looks the position up by the id",
                _enter_position_of_id,
                why="A position says where a piece stands, whatever piece it is: row t of `positions` for step t.",
                look="Section 5 of 41_attention, 'Attention is blind to order'",
            ),
            Misconception(
                "adds no positions",
                _enter_nowhere,
                why="Attention is blind to order. Without positions a sentence is a bag of words.",
                look="Section 5 of 41_attention, 'Attention is blind to order'",
            ),
        ],
        hints=(
            "Two parts are added. Which of them gets the factor, and which width is C?",
            "table[ids] has the shape (B, T, C). The first T rows of `positions` stretch over the batch.",
            "table[ids] * math.sqrt(table.shape[1]) + positions[: ids.shape[1]]",
        ),
        alternatives=[_enter_one_hot],
        names=("ids", "table", "positions"),
    ),
    Exercise(
        "42.3",
        "Norm before, norm after",
        minutes=12,
        difficulty=1,
        reference=both,
        use=_with_layers,
        cases=[_stream_case],
        misconceptions=[
            Misconception(
                "gives post-norm first and pre-norm second",
                _both_swapped,
                why="Pre-norm norms what the layer reads, before it; post-norm norms the sum, after it.",
                look=f"Section 3 {LESSON}, 'Before or after?'",
            ),
            Misconception(
                "forgets the residual in pre-norm",
                _pre_without_residual,
                why="The answer must be added to x. Without x there is no stream, and no short way for the gradient.",
                look=f"Section 3 {LESSON}, 'The residual stream'",
            ),
            Misconception(
                "forgets both residuals",
                _no_residual,
                why="A layer adds its answer to x; it does not replace x.",
                look=f"Section 3 {LESSON}, 'The residual stream'",
            ),
            Misconception(
                "adds to the normed stream in pre-norm",
                _pre_adds_to_the_normed,
                why="In pre-norm the stream itself is never normed: add to x. The norm is for what f reads.",
                look=f"Section 3 {LESSON}, 'Before or after?'",
            ),
            Misconception(
                "norms the layer's answer in pre-norm",
                _pre_norms_the_answer,
                why="The norm stands before the layer: f reads norm(x).",
                look=f"Section 3 {LESSON}, 'Before or after?'",
            ),
            Misconception(
                "norms the sum in pre-norm too",
                _pre_norms_the_sum_too,
                why="Then the stream passes through every norm, which is what pre-norm avoids.",
                look=f"Section 3 {LESSON}, 'Before or after?'",
            ),
            Misconception(
                "norms the layer's answer alone in post-norm",
                _post_norms_the_answer,
                why="Then the stream goes round the norm. The original norms the sum: norm(x + f(x)).",
                look=f"Section 3 {LESSON}, 'Before or after?'",
            ),
            Misconception(
                "norms the input of the layer in post-norm too",
                _post_reads_the_normed,
                why="In post-norm f reads x as it is, which came out of the norm before.",
                look=f"Section 3 {LESSON}, 'Before or after?'",
            ),
            Misconception(
                "adds x once more behind the norm in post-norm",
                _post_bypasses_the_norm,
                why="The residual goes into the norm, not past it: what leaves a post-norm block is normed.",
                look=f"Section 3 {LESSON}, 'Before or after?'",
            ),
        ],
        hints=(
            "For each form: what does f read, and what does the norm read?",
            "Pre-norm: the norm inside the brackets of f. Post-norm: the norm around the sum.",
            "return x + f(norm(x)), norm(x + f(x))",
        ),
        alternatives=[_both_in_steps],
        names=("x", "w", "g"),
    ),
    Exercise(
        "42.4",
        "A decoder block",
        minutes=20,
        difficulty=2,
        reference=decoder_block,
        use=_with_block,
        cases=[_block_case, _square_case, Case("one position", *_block_case(default_rng(0), 1, 3))],
        misconceptions=[
            Misconception(
                "asks with the memory: queries from the encoder",
                _asks_with_the_memory,
                why="The writer asks. Queries come from the target's stream, keys and values from the memory: "
                "cross(queries from, keys and values from).",
                look=f"Section 4 {LESSON}",
            ),
            Misconception(
                "lets cross-attention look at the target instead of the memory",
                _looks_at_itself,
                why="The source then never reaches the decoder. The second argument of cross is the memory.",
                look=f"Section 4 {LESSON}",
            ),
            Misconception(
                "asks with the block's input instead of what self-attention made of it",
                _asks_with_the_input,
                why="Each layer reads the stream as the layers before have left it.",
                look=f"Section 3 {LESSON}, 'The residual stream'",
            ),
            Misconception(
                "lets all three layers read the block's input",
                _all_read_the_input,
                why="Side by side, the feed-forward layer never sees what attention has gathered. Each layer reads the "
                "stream as the layers before have left it.",
                look=f"Section 3 {LESSON}, 'The residual stream'",
            ),
            Misconception(
                "feeds forward before it looks at the memory",
                _feeds_first,
                why="The feed-forward layer comes last: it works on what both kinds of attention have gathered.",
                look=f"Section 4 {LESSON}",
            ),
            Misconception(
                "looks at the memory before it looks at the target",
                _looks_first,
                why="First self-attention: a query should know what was written so far.",
                look=f"Section 4 {LESSON}",
            ),
            Misconception(
                "leaves out the residual around cross-attention",
                _cross_without_residual,
                why="All that the target's stream held would be lost there. Every layer adds.",
                look=f"Section 3 {LESSON}, 'The residual stream'",
            ),
            Misconception(
                "never looks at the memory",
                _never_looks,
                why="That is a block of a language model. A translator must see its source.",
                look=f"Section 4 {LESSON}",
            ),
            Misconception(
                "norms the memory",
                _norms_the_memory,
                why="The memory comes out of the encoder's last norm. The block's own norm is for its own stream.",
                look=f"Section 4 {LESSON}",
            ),
            Misconception(
                "norms the sums: post-norm",
                _post_norm_block,
                why="Asked for is pre-norm: each layer reads a normed copy, and the stream itself is never normed.",
                look=f"Section 3 {LESSON}, 'Before or after?'",
            ),
            Misconception(
                "uses one norm for all three layers",
                _one_norm,
                why="Each layer has a norm of its own, with a scale of its own: norms[0], norms[1], norms[2].",
                look=f"Section 3 {LESSON}, 'The block'",
            ),
            Misconception(
                "norms nothing",
                _unnormed,
                why="Without norms a deep stack has gradients that no learning rate suits.",
                look=f"Section 3 {LESSON}, 'What the norm does to the gradients'",
            ),
        ],
        hints=(
            "Three layers, each with a norm before it and an addition behind it. In which order?",
            "x = x + mix(norms[0](x)) is the first of three lines like it.",
            "The second line: x = x + cross(norms[1](x), memory).",
        ),
        alternatives=[_decoder_loop],
        names=("x", "memory", "w", "g"),
    ),
]
