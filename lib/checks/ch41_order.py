"""Checks of 41_attention on positions: who may look where, and turning by the place."""

from __future__ import annotations

import torch
from numpy.random import Generator
from torch import Tensor

from lib.checks import Case, Exercise, Misconception

LESSON = "of 41_attention"

# 41.5 -----------------------------------------------------------------------------------------------------------------


def packed(ids: Tensor, width: int) -> Tensor:
    at = torch.arange(len(ids))
    q, k = at[:, None], at[None, :]
    return (k <= q) & (q - k < width) & (ids[:, None] == ids[None, :])


def _packed_loop(ids, width):
    n = len(ids)
    table = [[k <= q < k + width and bool(ids[q] == ids[k]) for k in range(n)] for q in range(n)]
    return torch.tensor(table)


def _window(ids: Tensor, width: int) -> Tensor:
    return packed(torch.zeros_like(ids), width)


def _same(ids: Tensor) -> Tensor:
    return ids[:, None] == ids[None, :]


def _packed_one_more(ids, width):
    return packed(ids, width + 1)


def _packed_one_less(ids, width):
    return packed(ids, width - 1)


def _packed_not_own(ids, width):
    return packed(ids, width) & ~torch.eye(len(ids), dtype=torch.bool)


def _packed_previous(ids, width):
    return _packed_not_own(ids, width + 1)


def _packed_ahead(ids, width):
    return packed(ids, width).T.clone()


def _packed_both_sides(ids, width):
    return packed(ids, width) | packed(ids, width).T


def _packed_no_documents(ids, width):
    return _window(ids, width)


def _packed_no_window(ids, width):
    return packed(ids, len(ids))


def _packed_or(ids, width):
    return _window(ids, width) | _same(ids)


def _packed_negated(ids, width):
    return ~packed(ids, width)


def _packed_case(rng: Generator) -> tuple:
    lengths = rng.integers((4, 3, 5), (7, 6, 8))
    return torch.arange(3).repeat_interleave(torch.from_numpy(lengths)), int(rng.integers(2, 4))


# 41.6 -----------------------------------------------------------------------------------------------------------------


def _turned(x: Tensor, angle: Tensor) -> Tensor:
    x1, x2 = x.chunk(2, dim=-1)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat((x1 * cos - x2 * sin, x1 * sin + x2 * cos), dim=-1)


def _frequencies(x: Tensor, power: float = 2.0, base: float = 10000.0) -> Tensor:
    D = x.shape[-1]
    return base ** (-power * torch.arange(D // 2, dtype=x.dtype) / D)


def rotate(x: Tensor, at: Tensor) -> Tensor:
    return _turned(x, at[:, None] * _frequencies(x))


def _rotate_complex(x, at):
    z = torch.complex(*x.chunk(2, dim=-1)) * torch.exp(1j * at[:, None] * _frequencies(x))
    return torch.cat((z.real, z.imag), dim=-1)


def _rotate_float64(x, at):
    return rotate(x.double(), at)


def _rotate_neighbours(x, at):
    angle = at[:, None] * _frequencies(x)
    x1, x2 = x[..., ::2], x[..., 1::2]
    turned = x1 * angle.cos() - x2 * angle.sin(), x1 * angle.sin() + x2 * angle.cos()
    return torch.stack(turned, dim=-1).flatten(-2)


def _rotate_backwards(x, at):
    return rotate(x, -at)


def _rotate_slow_power(x, at):
    return _turned(x, at[:, None] * _frequencies(x, power=1.0))


def _rotate_one_speed(x, at):
    return _turned(x, at[:, None] * torch.ones_like(_frequencies(x)))


def _rotate_rising(x, at):
    return _turned(x, at[:, None] * _frequencies(x, power=-2.0))


def _rotate_by_index(x, at):
    return rotate(x, torch.arange(len(x)))


def _rotate_adds(x, at):
    angle = at[:, None] * _frequencies(x)
    return x + torch.cat((angle.sin(), angle.cos()), dim=-1)


def _rotate_no_minus(x, at):
    angle = at[:, None] * _frequencies(x)
    x1, x2 = x.chunk(2, dim=-1)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat((x1 * cos + x2 * sin, x1 * sin + x2 * cos), dim=-1)


def _rotate_old_and_new(x, at):
    angle = at[:, None] * _frequencies(x)
    x1, x2 = x.chunk(2, dim=-1)
    x1 = x1 * angle.cos() - x2 * angle.sin()
    return torch.cat((x1, x1 * angle.sin() + x2 * angle.cos()), dim=-1)


def _rotate_case(rng: Generator) -> tuple:
    T = int(rng.integers(3, 6))
    return torch.from_numpy(rng.normal(0, 1, (T, int(rng.choice([6, 8]))))).float(), torch.from_numpy(
        rng.choice(40, T, replace=False)
    )


EXERCISES = [
    Exercise(
        "41.5",
        "A window in packed documents",
        minutes=12,
        difficulty=2,
        reference=packed,
        cases=[
            _packed_case,
            Case("one document, a window of 1", torch.zeros(3, dtype=torch.long), 1),
            Case("a wide window", torch.tensor([4, 4, 7, 7, 7]), 50),
        ],
        misconceptions=[
            Misconception(
                "has a window that is one too wide",
                _packed_one_more,
                why="The width counts the own position: with width 3, q may see q, q - 1 and q - 2, so q - k < width.",
                look=f"Section 4 {LESSON}, 'Masks: who may look where'",
            ),
            Misconception(
                "has a window that is one too narrow",
                _packed_one_less,
                why="The width counts the own position: with width 3, q may see q, q - 1 and q - 2, so q - k < width.",
                look=f"Section 4 {LESSON}, 'Masks: who may look where'",
            ),
            Misconception(
                "keeps a position from seeing itself",
                _packed_not_own,
                why="k <= q, with the equals sign: what stands at q is known when q speaks. Without it the first word "
                "of a document sees nothing.",
                look=f"Section 4 {LESSON}, 'Masks: who may look where'",
            ),
            Misconception(
                "counts the window without the own position, and leaves that out",
                _packed_previous,
                why="The window of `width` positions ends with the own one, which may be seen: 0 <= q - k < width.",
                look=f"Section 4 {LESSON}, 'Masks: who may look where'",
            ),
            Misconception(
                "looks ahead instead of back",
                _packed_ahead,
                why="Rows are queries, columns are keys. A query sees keys *before* it: k <= q, the lower triangle.",
                look=f"Section 4 {LESSON}, 'Masks: who may look where'",
            ),
            Misconception(
                "has a window to both sides",
                _packed_both_sides,
                why="|q - k| < width also lets the future in. A decoder's window is causal *and* near.",
                look=f"Section 4 {LESSON}, 'Masks: who may look where'",
            ),
            Misconception(
                "lets documents see each other",
                _packed_no_documents,
                why="The row holds several documents, and a window near a border reaches into the one before. Both "
                "positions need the same id.",
                look=f"Section 4 {LESSON}, 'causal and documents'",
            ),
            Misconception(
                "leaves the window out",
                _packed_no_window,
                why="Every earlier position of the document is allowed; the rule says the last `width` alone.",
                look=f"Section 4 {LESSON}, 'Masks: who may look where'",
            ),
            Misconception(
                "joins the rules with or instead of and",
                _packed_or,
                why="All rules must hold at once: near, and not ahead, and in the same document.",
                look=f"Section 4 {LESSON}, 'causal and documents'",
            ),
            Misconception(
                "has True where attention is forbidden",
                _packed_negated,
                why="In this course, in PyTorch's scaled_dot_product_attention and in flex_attention True means *may "
                "attend*. (nn.MultiheadAttention has it the other way round.)",
                look=f"Section 4 {LESSON}, 'Masks: who may look where'",
            ),
        ],
        hints=(
            "Three rules, each a table of bools. Write the one for the documents with ids[:, None] and ids[None, :].",
            "With q = arange(T)[:, None] and k = arange(T)[None, :]: what says 'not ahead', and what 'near'?",
            "(k <= q) & (q - k < width) & (ids[:, None] == ids[None, :])",
        ),
        alternatives=[_packed_loop],
    ),
    Exercise(
        "41.6",
        "Rotary positions",
        minutes=20,
        difficulty=3,
        reference=rotate,
        cases=[
            _rotate_case,
            Case("position 0 stays", torch.arange(4.0)[None], torch.tensor([0])),
            Case("far away", torch.ones(2, 6), torch.tensor([200, 7])),
        ],
        misconceptions=[
            Misconception(
                "turns neighbours, not number i with number i + D / 2",
                _rotate_neighbours,
                why="That is the paper's convention (and GPT-J's). Here, as in Llama, the two halves of the vector "
                "are paired. Either works; mixed up, a model's weights are useless.",
                look=f"Section 5 {LESSON}, 'Three cures'",
            ),
            Misconception(
                "turns backwards",
                _rotate_backwards,
                why="The minus sign belongs to the first of a pair: x1 cos - x2 sin, and x1 sin + x2 cos.",
                look=f"Section 5 {LESSON}, 'Three cures'",
            ),
            Misconception(
                "has the frequencies 10000^(-i / D) instead of 10000^(-2i / D)",
                _rotate_slow_power,
                why="There are D / 2 pairs, i = 0, 1, ..., D / 2 - 1; with 2i / D they spread over the whole range.",
                look=f"Section 5 {LESSON}, 'Three cures'",
            ),
            Misconception(
                "turns all pairs at the same speed",
                _rotate_one_speed,
                why="One speed repeats itself after one turn. Each pair has a frequency of its own, 10000^(-2i / D).",
                look=f"Section 5 {LESSON}, 'Three cures'",
            ),
            Misconception(
                "has frequencies that rise from pair to pair",
                _rotate_rising,
                why="The exponent is negative: the first pair turns fastest, by 1 at each step, the others slower.",
                look=f"Section 5 {LESSON}, 'Three cures'",
            ),
            Misconception(
                "takes the index of a row for its position",
                _rotate_by_index,
                why="`at` says where each row stands. In a cache, a row may be the only one and stand at 500.",
                look=f"Section 5 {LESSON}, 'Three cures'",
            ),
            Misconception(
                "adds the waves instead of turning",
                _rotate_adds,
                why="That is the cure of 2017, for embeddings. A turn multiplies: it keeps the length of every pair.",
                look=f"Section 5 {LESSON}, 'Three cures'",
            ),
            Misconception(
                "has lost the minus sign",
                _rotate_no_minus,
                why="x1 cos - x2 sin: without the minus it is no turn, and lengths change.",
                look=f"Section 5 {LESSON}, 'Three cures'",
            ),
            Misconception(
                "uses the new first number to compute the second",
                _rotate_old_and_new,
                why="Both formulas take the *old* x1 and x2. Compute both before you overwrite either.",
                look=f"Section 5 {LESSON}, 'Three cures'",
            ),
        ],
        hints=(
            "One angle for each position and each pair: a table (T, D / 2). What are its rows and columns?",
            "angle = at[:, None] * 10000 ** (-2 i / D), with i = arange(D // 2). Then two formulas on the two halves.",
            "x1, x2 = x.chunk(2, dim=-1); torch.cat((x1 * cos - x2 * sin, x1 * sin + x2 * cos), dim=-1)",
        ),
        alternatives=[_rotate_complex, _rotate_float64],
        rtol=1e-4,
        atol=1e-4,  # an angle of 200 in float32 is known to 1e-5
    ),
]
