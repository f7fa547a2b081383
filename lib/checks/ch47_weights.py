"""Checks of 47_gpt_to_llama on memory and files: what fits a cache, rows of queries and keys, blocks of Q4_1."""

from __future__ import annotations

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from lib.checks import Case, Exercise, Misconception

LESSON = "of 47_gpt_to_llama"

# 47.5 -----------------------------------------------------------------------------------------------------------------


def longest(memory: int, n_layers: int, n_heads: int, n_groups: int, d_model: int, bytes_each: int) -> int:
    return memory // (2 * n_layers * n_groups * (d_model // n_heads) * bytes_each)


def _longest_counted(memory, n_layers, n_heads, n_groups, d_model, bytes_each):
    each = sum(2 * n_groups * (d_model // n_heads) * bytes_each for _ in range(n_layers))
    return int(np.floor_divide(memory, each))


def _longest_no_values(memory, n_layers, n_heads, n_groups, d_model, bytes_each):
    return memory // (n_layers * n_groups * (d_model // n_heads) * bytes_each)


def _longest_all_heads(memory, n_layers, n_heads, n_groups, d_model, bytes_each):
    return longest(memory, n_layers, n_heads, n_heads, d_model, bytes_each)


def _longest_wide(memory, n_layers, n_heads, n_groups, d_model, bytes_each):
    return memory // (2 * n_layers * n_groups * d_model * bytes_each)


def _longest_one_layer(memory, n_layers, n_heads, n_groups, d_model, bytes_each):
    return longest(memory, 1, n_heads, n_groups, d_model, bytes_each)


def _longest_numbers(memory, n_layers, n_heads, n_groups, d_model, bytes_each):
    return longest(memory, n_layers, n_heads, n_groups, d_model, 1)


def _longest_up(memory, n_layers, n_heads, n_groups, d_model, bytes_each):
    return -(-memory // (2 * n_layers * n_groups * (d_model // n_heads) * bytes_each))


def _longest_case(rng: Generator) -> tuple:
    n_groups, share, d_head, n_layers = rng.integers((2, 2, 3, 2), (5, 5, 9, 9)).tolist()
    n_heads = n_groups * share
    memory = int(rng.integers(10**5, 10**6))
    return memory, n_layers, n_heads, n_groups, n_heads * d_head, int(rng.choice([2, 4]))


# 47.6 -----------------------------------------------------------------------------------------------------------------


def in_halves(w: Tensor, n_heads: int) -> Tensor:
    return w.unflatten(0, (n_heads, -1, 2)).transpose(1, 2).flatten(0, 2)


def _halves_by_index(w, n_heads):
    heads = w.chunk(n_heads)
    return torch.cat([torch.cat((head[::2], head[1::2])) for head in heads])


def _halves_whole(w, n_heads):
    return in_halves(w, 1)


def _halves_again(w, n_heads):
    return w.unflatten(0, (n_heads, 2, -1)).transpose(1, 2).flatten(0, 2)


def _halves_not_at_all(w, n_heads):
    return w.clone()


def _halves_columns(w, n_heads):
    return torch.cat((w[:, ::2], w[:, 1::2]), dim=1)


def _halves_second_first(w, n_heads):
    return w.unflatten(0, (n_heads, -1, 2)).flip(2).transpose(1, 2).flatten(0, 2)


def _halves_across_heads(w, n_heads):
    return w.unflatten(0, (-1, n_heads)).transpose(0, 1).flatten(0, 1)


def _halves_case(rng: Generator) -> tuple:
    n_heads, half, C = rng.integers((2, 3, 3), (4, 5, 6)).tolist()
    return torch.from_numpy(rng.normal(0, 1, (n_heads * 2 * half, 4 * n_heads + C))).float(), n_heads


# 47.7 -----------------------------------------------------------------------------------------------------------------


def unpack(blocks: np.ndarray) -> np.ndarray:
    d, m, n = _parts(blocks)
    return (m + d * n).reshape(-1)


def _parts(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    d, m = (blocks[:, i : i + 2].copy().view(np.float16).astype(np.float32) for i in (0, 2))
    return d, m, np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)


def _unpack_loop(blocks):
    numbers = []
    for block in blocks:
        d, m = np.frombuffer(block[:4].tobytes(), dtype="<f2").tolist()
        numbers += [m + d * (byte % 16) for byte in block[4:].tolist()]
        numbers += [m + d * (byte // 16) for byte in block[4:].tolist()]
    return np.array(numbers, dtype=np.float32)


def _unpack_neighbours(blocks):
    d, m, n = _parts(blocks)
    return (m + d * n.reshape(-1, 2, 16).transpose(0, 2, 1).reshape(-1, 32)).reshape(-1)


def _unpack_high_first(blocks):
    d, m, n = _parts(blocks)
    return (m + d * np.roll(n, 16, axis=1)).reshape(-1)


def _unpack_swapped(blocks):
    d, m, n = _parts(blocks)
    return (d + m * n).reshape(-1)


def _unpack_scaled_minimum(blocks):
    d, m, n = _parts(blocks)
    return (d * (n + m)).reshape(-1)


def _unpack_signed(blocks):
    d, _, n = _parts(blocks)
    return (d * (n.astype(np.float32) - 8)).reshape(-1)


def _unpack_no_minimum(blocks):
    d, _, n = _parts(blocks)
    return (d * n).reshape(-1)


def _unpack_whole_bytes(blocks):
    d, m, _ = _parts(blocks)
    return (m + d * blocks[:, 4:].astype(np.float32)).reshape(-1)


def _unpack_not_shifted(blocks):
    d, m, _ = _parts(blocks)
    n = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] & 240], axis=1)
    return (m + d * n).reshape(-1)


def _unpack_first_block(blocks):
    d, m, n = _parts(blocks)
    return (m[:1] + d[:1] * n).reshape(-1)


def _packed(rng: Generator, n: int) -> np.ndarray:
    scales = np.stack([rng.uniform(0.01, 0.2, n), rng.uniform(-1, -0.1, n)], axis=1).astype(np.float16)
    return np.concatenate([scales.view(np.uint8), rng.integers(0, 256, (n, 16), dtype=np.uint8)], axis=1)


def _unpack_case(rng: Generator) -> tuple:
    return (_packed(rng, int(rng.integers(2, 5))),)


ONE = np.concatenate([np.array([0.5, -2.0], np.float16).view(np.uint8), np.arange(16, dtype=np.uint8) * 17])[None]
"""Scale 1/2, minimum -2, and the bytes 0x00, 0x11, ... 0xff: both halves hold 0 to 15."""

EXERCISES = [
    Exercise(
        "47.5",
        "The longest text that fits",
        minutes=10,
        difficulty=2,
        reference=longest,
        names=("memory", "n_layers", "n_heads", "n_groups", "d_model", "bytes_each"),
        cases=[
            _longest_case,
            Case("Llama 3, 16 GiB", 16 * 2**30, 32, 32, 8, 4096, 2),
            Case("SmolLM2, 1 GiB", 2**30, 30, 9, 3, 576, 4),
            Case("too little for one", 100, 2, 4, 2, 64, 2),
        ],
        misconceptions=[
            Misconception(
                "counts keys but no values",
                _longest_no_values,
                why="Two tables for each layer: the keys, and the values that go with them.",
                look=f"Section 7 {LESSON}, 'Heads that share keys'",
            ),
            Misconception(
                "counts every head that asks",
                _longest_all_heads,
                why="Queries are not kept. The cache holds keys and values: n_groups heads of them, each as wide as a "
                "head that asks, d_model / n_heads.",
                look=f"Section 7 {LESSON}, 'Heads that share keys'",
            ),
            Misconception(
                "takes the model's width for that of a head",
                _longest_wide,
                why="A head is d_model / n_heads wide.",
                look=f"Section 7 {LESSON}, 'Heads that share keys'",
            ),
            Misconception(
                "counts one layer",
                _longest_one_layer,
                why="Each layer has keys and values of its own.",
                look=f"Section 7 {LESSON}, 'Heads that share keys'",
            ),
            Misconception(
                "counts numbers instead of bytes",
                _longest_numbers,
                why="A number takes bytes_each bytes: 2 in 16 bits, 4 in 32.",
                look=f"Section 7 {LESSON}, 'Heads that share keys'",
            ),
            Misconception(
                "rounds up",
                _longest_up,
                why="A position whose keys fit only in part does not fit.",
                look=f"Section 7 {LESSON}, 'Heads that share keys'",
            ),
        ],
        hints=(
            "How many bytes does one position take? Count tables, layers, heads and numbers a head.",
            "Of keys and values there are n_groups heads each, and every head is d_model // n_heads wide.",
            "memory // (2 * n_layers * n_groups * (d_model // n_heads) * bytes_each)",
        ),
        alternatives=[_longest_counted],
        same_dtype=True,
    ),
    Exercise(
        "47.6",
        "Rows in their places",
        minutes=15,
        difficulty=2,
        reference=in_halves,
        names=("w", "n_heads"),
        cases=[
            _halves_case,
            Case("one head", torch.arange(8.0)[:, None].expand(8, 3).clone(), 1),
            Case("two heads, no columns to speak of", torch.arange(12.0)[:, None], 2),
        ],
        misconceptions=[
            Misconception(
                "takes the matrix for one large head",
                _halves_whole,
                why="The rows were reordered within each head. Across the whole matrix they land in other heads.",
                look=f"Section 10 {LESSON}, 'The rows'",
            ),
            Misconception(
                "reorders once more, in the direction of the converter",
                _halves_again,
                why="The file has 0, d/2, 1, d/2 + 1, ...: pairs of neighbours. View a head as (d/2, 2), not as "
                "(2, d/2), before you swap the axes.",
                look=f"Section 10 {LESSON}, 'The rows'",
            ),
            Misconception(
                "leaves the rows as they are",
                _halves_not_at_all,
                why="Shapes fit, and the model even talks, but angles go to the wrong pairs and perplexity doubles. (A "
                "reshape alone moves nothing: two axes must change places.)",
                look=f"Section 10 {LESSON}, 'The rows'",
            ),
            Misconception(
                "reorders columns",
                _halves_columns,
                why="W times x: number i of a query is *row* i of W. Columns belong to the input.",
                look=f"Section 2 {LESSON}, 'Which numbers make a pair?'",
            ),
            Misconception(
                "puts the second half first",
                _halves_second_first,
                why="Rows 0, 2, 4, ... of a head in the file are its first half, rows 1, 3, 5, ... its second.",
                look=f"Section 10 {LESSON}, 'The rows'",
            ),
            Misconception(
                "deals the rows out to the heads in turn",
                _halves_across_heads,
                why="A head's rows stand together: the first d rows belong to head 0.",
                look=f"Section 10 {LESSON}, 'The rows'",
            ),
        ],
        hints=(
            "Write down the rows of one head with d = 6 as the file has them. Where does row 1 of the file belong?",
            "Within a head the even rows are the first half, the odd rows the second. Heads stand one after another.",
            "pairs = w.unflatten(0, (n_heads, -1, 2)): in each head pairs[:, :, 0] come first, then pairs[:, :, 1]",
        ),
        alternatives=[_halves_by_index],
    ),
    Exercise(
        "47.7",
        "Four bits a number",
        minutes=20,
        difficulty=3,
        reference=unpack,
        names=("blocks",),
        cases=[_unpack_case, Case("both halves hold 0 to 15", ONE)],
        misconceptions=[
            Misconception(
                "takes the two halves of a byte for neighbours",
                _unpack_neighbours,
                why="Byte j holds number j (low half) and number j + 16 (high half): all low halves come first.",
                look=f"Section 9 {LESSON}, 'One block by hand'",
            ),
            Misconception(
                "takes the high half first",
                _unpack_high_first,
                why="The low half, byte & 15, belongs to the first 16 numbers, the high half to the last 16.",
                look=f"Section 9 {LESSON}, 'One block by hand'",
            ),
            Misconception(
                "takes scale and minimum for each other",
                _unpack_swapped,
                why="The first two bytes are the scale d, the next two the minimum m.",
                look=f"Section 9 {LESSON}, 'One block by hand'",
            ),
            Misconception(
                "multiplies the minimum by the scale",
                _unpack_scaled_minimum,
                why="m is the smallest number of the block itself: m + d n, not d (m + n).",
                look=f"Section 9 {LESSON}, 'One block by hand'",
            ),
            Misconception(
                "counts nibbles from -8, as Q4_0 does",
                _unpack_signed,
                why="Q4_0 has no minimum and centres its 16 levels on 0. Q4_1 stores where the lowest level lies.",
                look=f"Section 9 {LESSON}, 'One block by hand'",
            ),
            Misconception(
                "forgets the minimum",
                _unpack_no_minimum,
                why="Nibbles are never negative. Without the minimum no weight could be.",
                look=f"Section 9 {LESSON}, 'One block by hand'",
            ),
            Misconception(
                "takes each byte for one number",
                _unpack_whole_bytes,
                why="16 bytes hold 32 numbers of 4 bits: byte & 15 and byte >> 4.",
                look=f"Section 9 {LESSON}, 'One block by hand'",
            ),
            Misconception(
                "does not shift the high half down",
                _unpack_not_shifted,
                why="byte & 240 is sixteen times too large: the high half is byte >> 4.",
                look=f"Section 9 {LESSON}, 'One block by hand'",
            ),
            Misconception(
                "uses the first block's scale for all",
                _unpack_first_block,
                why="Each block of 32 has a scale and a minimum of its own. That is what keeps the error small.",
                look=f"Section 9 {LESSON}, 'One block by hand'",
            ),
        ],
        hints=(
            "Cut each row of 20 bytes into three parts. Which bytes are d, which m, which the nibbles?",
            "blocks[:, :2].view(np.float16) is d, of shape (n, 1). A byte's halves: byte & 15 and byte >> 4.",
            "n = np.concatenate([bytes & 15, bytes >> 4], axis=1), then (m + d * n).flatten(), in float32",
        ),
        alternatives=[_unpack_loop],
        rtol=1e-4,
        atol=1e-5,
    ),
]
