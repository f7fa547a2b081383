"""Checks of 46_gpu_attention on tiles: the bytes that they carry, and which are loaded."""

from __future__ import annotations

import math

from numpy.random import Generator

from lib.checks import Case, Exercise, Misconception

LESSON = "of 46_gpu_attention"

# 46.1 -----------------------------------------------------------------------------------------------------------------


def traffic(T, S, D, BM, size):
    return size * (2 * T * D + 2 * S * D + 4 * T * S), size * (2 * T * D + math.ceil(T / BM) * 2 * S * D)


def _traffic_numbers(T, S, D, BM, size):
    return traffic(T, S, D, BM, 1)


def _traffic_table_once(T, S, D, BM, size):
    return traffic(T, S, D, BM, size)[0] - size * 2 * T * S, traffic(T, S, D, BM, size)[1]


def _traffic_keys_once(T, S, D, BM, size):
    return traffic(T, S, D, T, size)


def _traffic_whole_tiles(T, S, D, BM, size):
    return traffic(T, S, D, BM, size)[0], size * (2 * T * D + T // BM * 2 * S * D)


def _traffic_no_values(T, S, D, BM, size):
    return traffic(T, S, D, BM, size)[0], size * (2 * T * D + math.ceil(T / BM) * S * D)


def _traffic_no_answer(T, S, D, BM, size):
    return tuple(each - size * T * D for each in traffic(T, S, D, BM, size))


def _traffic_queries_again(T, S, D, BM, size):
    return traffic(T, S, D, BM, size)[0], size * (2 * S * D + math.ceil(T / BM) * 2 * T * D)


def _sizes_case(rng: Generator) -> tuple:
    T, S, D = (int(rng.integers(low, 4 * low)) for low in (50, 70, 8))
    return T, S, D, int(rng.choice([16, 32])), int(rng.choice([2, 4]))


# 46.6 -----------------------------------------------------------------------------------------------------------------


def queries_of(j, BM, BN, T, window):
    last = min(T - 1, j * BN + BN - 1 + window - 1)
    return j * BN // BM, last // BM + 1


def _queries_by_asking(j, BM, BN, T, window):
    seen = [t // BM for t in range(T) if any(0 <= t - s < window for s in range(j * BN, min(T, j * BN + BN)))]
    return min(seen), max(seen) + 1


def _queries_whole(j, BM, BN, T, window):
    return -(-j * BN // BM), queries_of(j, BM, BN, T, window)[1]


def _queries_no_window(j, BM, BN, T, window):
    return j * BN // BM, -(-T // BM)


def _queries_of_first_key(j, BM, BN, T, window):
    return j * BN // BM, min(T - 1, j * BN + window - 1) // BM + 1


def _queries_far_by_one(j, BM, BN, T, window):
    return j * BN // BM, min(T - 1, j * BN + BN - 1 + window) // BM + 1


def _queries_inclusive(j, BM, BN, T, window):
    first, end = queries_of(j, BM, BN, T, window)
    return first, end - 1


def _queries_unclipped(j, BM, BN, T, window):
    return queries_of(j, BM, BN, 10**9, window)


def _queries_as_keys(j, BM, BN, T, window):
    return max(0, j * BN - window + 1) // BM, min(T - 1, j * BN + BN - 1) // BM + 1


def _queries_tiles_alike(j, BM, BN, T, window):
    return queries_of(j, BM, BM, T, window)


def _walk_case(rng: Generator) -> tuple:
    BM, BN = (int(n) for n in rng.choice([2, 3, 4, 8], 2, replace=False))
    T = int(rng.integers(20, 60))
    return int(rng.integers(0, (T - 1) // BN + 1)), BM, BN, T, int(rng.integers(1, 25))


def _cut_case(rng: Generator) -> tuple:
    """Tiles of keys that begin inside a tile of queries and end before the last, with a window that ends inside."""
    return int(rng.choice([1, 2, 4, 5])), 7, 3, int(rng.integers(50, 60)), int(rng.integers(5, 15))


EXERCISES = [
    Exercise(
        "46.1",
        "Count the bytes",
        minutes=12,
        difficulty=1,
        reference=traffic,
        cases=[_sizes_case, Case("whole tiles", 64, 96, 16, 32, 2), Case("one query", 1, 100, 8, 16, 2)],
        misconceptions=[
            Misconception(
                "counts numbers instead of bytes",
                _traffic_numbers,
                why="A number takes `size` bytes: 2 in fp16, 4 in float32.",
                look=f"Section 1 {LESSON}, 'What naive attention carries'",
            ),
            Misconception(
                "counts the tables of scores and of weights once each",
                _traffic_table_once,
                why="Each is stored by one kernel and loaded by the next: four trips of T S numbers.",
                look=f"Section 1 {LESSON}, 'What naive attention carries'",
            ),
            Misconception(
                "loads keys and values once for all tiles of queries",
                _traffic_keys_once,
                why="Programs share nothing: each tile of queries asks for all keys and values itself.",
                look=f"Section 7 {LESSON}, 'Traffic, counted and predicted'",
            ),
            Misconception(
                "leaves out the last tile of queries when it is not full",
                _traffic_whole_tiles,
                why="The rows left over need a program too, and it reads all keys: round T / BM up.",
                look=f"Section 3 {LESSON}, 'Tiles'",
            ),
            Misconception(
                "forgets the values in the walk over the tiles",
                _traffic_no_values,
                why="A program loads a tile of keys for the scores, and the values of the same positions for y.",
                look=f"Section 3 {LESSON}, 'Tiles'",
            ),
            Misconception(
                "forgets that the answer is stored",
                _traffic_no_answer,
                why="y has T D numbers, which go to memory in both ways.",
                look=f"Section 1 {LESSON}, 'What naive attention carries'",
            ),
            Misconception(
                "loads the queries again for each tile, and the keys once",
                _traffic_queries_again,
                why="A program keeps its queries and walks over the keys: queries are loaded once in all.",
                look=f"Section 3 {LESSON}, 'Tiles'",
            ),
        ],
        hints=(
            "Make a table of the three kernels: what does each load, and what does it store?",
            "Naive: q, k, v, y once each and four times T S. Tiled: q and y once; k and v once for each tile of "
            "queries.",
            "The number of tiles is -(-T // BM). Tiled: size * (2 * T * D + n_tiles * 2 * S * D).",
        ),
        names=("T", "S", "D", "BM", "size"),
    ),
    Exercise(
        "46.6",
        "Which queries see this tile of keys?",
        minutes=20,
        difficulty=3,
        reference=queries_of,
        cases=[
            _walk_case,
            _cut_case,
            Case("a window of one position", 2, 4, 8, 40, 1),
            Case("the last tile", 4, 4, 8, 37, 100),
            Case("the first tile", 0, 8, 2, 30, 7),
        ],
        misconceptions=[
            Misconception(
                "begins at the first tile whose queries all see the keys",
                _queries_whole,
                why="A tile that the diagonal cuts has queries that see some of the keys. It is loaded, and masked "
                "inside: round the first tile down, not up.",
                look=f"Section 3 {LESSON}, 'Tiles'",
            ),
            Misconception(
                "walks to the last query, whatever the window",
                _queries_no_window,
                why="A query more than a window behind the last key of the tile sees none of its keys: those tiles "
                "need not be loaded.",
                look=f"Section 3 {LESSON}, 'Tiles'",
            ),
            Misconception(
                "ends where the window of the tile's first key ends",
                _queries_of_first_key,
                why="The last key of the tile is seen the longest: by the queries up to j BN + BN - 1 + window - 1.",
                look=f"Section 3 {LESSON}, 'Tiles'",
            ),
            Misconception(
                "counts the window one position too far",
                _queries_far_by_one,
                why="The window counts the own position: t - s < window, so the last query that sees key s is "
                "s + window - 1.",
                look=f"Section 3 {LESSON}, 'Tiles'",
            ),
            Misconception(
                "returns the last tile in place of the end",
                _queries_inclusive,
                why="`end` is used as in range(first, end): one past the last tile.",
                look=f"Section 4 {LESSON}, 'Step 4 · Heads, skipped tiles, and the log-sum-exp'",
            ),
            Misconception(
                "walks past the last query",
                _queries_unclipped,
                why="There are no queries from T on, and so no tiles of them.",
                look=f"Section 4 {LESSON}, 'Step 4 · Heads, skipped tiles, and the log-sum-exp'",
            ),
            Misconception(
                "looks for the keys that a tile of queries sees",
                _queries_as_keys,
                why="Here a program owns keys. Keys are seen by queries at the same place and *later* ones.",
                look=f"Section 5 {LESSON}, 'The gradients, without the table'",
            ),
            Misconception(
                "takes the tiles of keys to be as high as those of queries",
                _queries_tiles_alike,
                why="Tile j of the keys begins at position j BN, whatever BM is; BM only says in which tile of "
                "queries a position lies.",
                look=f"Section 3 {LESSON}, 'Tiles'",
            ),
        ],
        hints=(
            "Draw the table and mark a column of it. Which query is the first to see the tile's first key, and which "
            "the last to see its last?",
            "Query j BN is the first. The last is j BN + BN - 1 + window - 1, or T - 1 if that is earlier. Position t "
            "lies in tile t // BM.",
            "last = min(T - 1, j * BN + BN + window - 2); return j * BN // BM, last // BM + 1",
        ),
        alternatives=[_queries_by_asking],
        names=("j", "BM", "BN", "T", "window"),
    ),
]
