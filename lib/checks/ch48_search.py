"""Checks of 48_real_bert on search: the nearest passages, and what a search is worth."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from lib.checks import Case, Exercise, Misconception

LESSON = "of 48_real_bert"


def _normal(rng: Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.normal(0, 1, shape))


# 48.3 -----------------------------------------------------------------------------------------------------------------


def search(q: Tensor, index: Tensor, k: int) -> tuple[list[float], list[int]]:
    cosines = F.normalize(index, dim=1) @ F.normalize(q, dim=0)
    best = cosines.topk(k)
    return best.values.tolist(), best.indices.tolist()


def _search_by_sorting(q, index, k):
    cosines = [float(row @ q / (row.norm() * q.norm())) for row in index]
    order = sorted(range(len(cosines)), key=lambda i: -cosines[i])[:k]
    return [cosines[i] for i in order], order


def _by(scores, k, largest=True):
    best = scores.topk(k, largest=largest)
    return best.values.tolist(), best.indices.tolist()


def _search_dot(q, index, k):
    return _by(index @ q, k)


def _search_question_normed(q, index, k):
    return _by(index @ F.normalize(q, dim=0), k)


def _search_passages_normed(q, index, k):
    return _by(F.normalize(index, dim=1) @ q, k)


def _search_columns(q, index, k):
    return _by(F.normalize(index, dim=0) @ F.normalize(q, dim=0), k)


def _search_farthest(q, index, k):
    return _by(F.normalize(index, dim=1) @ F.normalize(q, dim=0), k, largest=False)


def _search_ascending(q, index, k):
    return tuple(part[::-1] for part in search(q, index, k))


def _search_by_number(q, index, k):
    pairs = sorted(zip(*reversed(search(q, index, k)), strict=True))
    return [cosine for _, cosine in pairs], [i for i, _ in pairs]


def _search_distance(q, index, k):
    return _by((F.normalize(index, dim=1) - F.normalize(q, dim=0)).norm(dim=1), k, largest=False)


def _index_case(rng: Generator) -> tuple:
    n, C = int(rng.integers(12, 20)), int(rng.integers(3, 7))
    lengths = torch.from_numpy(rng.uniform(0.1, 5, (n, 1)))
    return 3 * _normal(rng, C), lengths * _normal(rng, n, C), int(rng.integers(4, 7))


# 48.4 -----------------------------------------------------------------------------------------------------------------


def evaluate(scores: np.ndarray, relevant: np.ndarray, k: int) -> tuple[float, float]:
    order = np.argsort(-scores, axis=1)
    right = np.take_along_axis(relevant, order, axis=1)
    found = right.any(axis=1)
    rank = 1 + right.argmax(axis=1)
    return right[:, :k].any(axis=1).mean(), (found / rank).mean()


def _evaluate_by_loops(scores, relevant, k):
    hits, total = 0, 0.0
    for row, right in zip(scores, relevant, strict=True):
        order = sorted(range(len(row)), key=lambda i: -row[i])
        ranks = [place for place, i in enumerate(order, start=1) if right[i]]
        hits += bool(ranks) and ranks[0] <= k
        total += 1 / ranks[0] if ranks else 0.0
    return hits / len(scores), total / len(scores)


def _sorted(scores, relevant):
    return np.take_along_axis(relevant, np.argsort(-scores, axis=1), axis=1)


def _evaluate_smallest_first(scores, relevant, k):
    return evaluate(-scores, relevant, k)


def _evaluate_precision(scores, relevant, k):
    return _sorted(scores, relevant)[:, :k].mean(axis=1).mean(), evaluate(scores, relevant, k)[1]


def _evaluate_share_of_all(scores, relevant, k):
    right = _sorted(scores, relevant)
    return (right[:, :k].sum(1) / np.maximum(right.sum(1), 1)).mean(), evaluate(scores, relevant, k)[1]


def _evaluate_place_k(scores, relevant, k):
    return _sorted(scores, relevant)[:, k - 1].mean(), evaluate(scores, relevant, k)[1]


def _evaluate_from_zero(scores, relevant, k):
    right = _sorted(scores, relevant)
    first = np.maximum(right.argmax(axis=1), 1)
    return right[:, :k].any(axis=1).mean(), (right.any(axis=1) / first).mean()


def _evaluate_one_over_mean(scores, relevant, k):
    right = _sorted(scores, relevant)
    return right[:, :k].any(axis=1).mean(), 1 / (1 + right.argmax(axis=1)).mean()


def _evaluate_mean_rank(scores, relevant, k):
    right = _sorted(scores, relevant)
    return right[:, :k].any(axis=1).mean(), (1 + right.argmax(axis=1)).mean()


def _evaluate_lost_on_top(scores, relevant, k):
    right = _sorted(scores, relevant)
    return right[:, :k].any(axis=1).mean(), (1 / (1 + right.argmax(axis=1))).mean()


def _evaluate_lost_behind_k(scores, relevant, k):
    right = _sorted(scores, relevant)[:, :k]
    return right.any(axis=1).mean(), (right.any(axis=1) / (1 + right.argmax(axis=1))).mean()


def _evaluate_left_out(scores, relevant, k):
    kept = relevant.any(axis=1)
    return evaluate(scores[kept], relevant[kept], k)


def _scores_case(rng: Generator) -> tuple:
    n_questions, n = int(rng.integers(5, 9)), int(rng.integers(15, 25))
    scores = rng.normal(0, 1, (n_questions, n))
    relevant = rng.random((n_questions, n)) < 0.15
    relevant[0], relevant[1, :3] = False, True
    relevant[2] = scores[2] == scores[2].max()
    return scores, relevant, int(rng.integers(3, 6))


EXERCISES = [
    Exercise(
        "48.3",
        "The nearest passages",
        minutes=12,
        difficulty=1,
        reference=search,
        cases=[
            _index_case,
            Case("a long vector and a near one", torch.tensor([1.0, 0.0]), torch.tensor([[9.0, 9.0], [0.2, 0.0]]), 1),
        ],
        misconceptions=[
            Misconception(
                "takes dot products instead of cosines",
                _search_dot,
                why="A dot product also grows with the length of a vector: long vectors would be near to everything.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "gives length 1 to the question alone",
                _search_question_normed,
                why="The lengths of the passages decide the order, then.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "gives length 1 to the passages alone",
                _search_passages_normed,
                why="The order is right, the numbers are no cosines: they can be larger than 1.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "gives length 1 to the columns of the index",
                _search_columns,
                why="A passage is a row: normalise along axis 1.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "finds the farthest passages",
                _search_farthest,
                why="A cosine is large where two vectors are near; it is no distance.",
                look=f"Section 5 {LESSON}",
            ),
            Misconception(
                "gives distances instead of cosines",
                _search_distance,
                why="For vectors of length 1 the order is the same, but asked for were the cosines.",
                look=f"Section 5 {LESSON}",
            ),
            Misconception(
                "puts the best one last",
                _search_ascending,
                why="argsort sorts upwards. The reader wants the best first.",
                look=f"Section 5 {LESSON}",
            ),
            Misconception(
                "finds the right ones and leaves them unsorted",
                _search_by_number,
                why="The k largest are right, but in the order of the index: sort them by their cosines.",
                look=f"Section 5 {LESSON}",
            ),
        ],
        hints=(
            "A cosine is a dot product of two vectors of length 1.",
            "F.normalize(index, dim=1) @ F.normalize(q, dim=0) gives all cosines; topk finds the largest, in order.",
            "best = cosines.topk(k); return best.values, best.indices",
        ),
        alternatives=[_search_by_sorting],
        names=("q", "index", "k"),
    ),
    Exercise(
        "48.4",
        "What a search is worth",
        minutes=15,
        difficulty=2,
        reference=evaluate,
        cases=[_scores_case],
        misconceptions=[
            Misconception(
                "puts the smallest scores first",
                _evaluate_smallest_first,
                why="argsort sorts upwards; the best passage has the largest score.",
                look=f"Section 5 {LESSON}",
            ),
            Misconception(
                "counts the share of right ones among the first k",
                _evaluate_precision,
                why="That is the precision. Here a question counts as found with one right passage among the first k.",
                look=f"Section 5 {LESSON}, 'Is it any good?'",
            ),
            Misconception(
                "counts the share of all right ones that are found",
                _evaluate_share_of_all,
                why="That is recall where all must be found. Here one right passage among the first k is enough.",
                look=f"Section 5 {LESSON}, 'Is it any good?'",
            ),
            Misconception(
                "looks at place k alone",
                _evaluate_place_k,
                why="All of the first k places count.",
                look=f"Section 5 {LESSON}, 'Is it any good?'",
            ),
            Misconception(
                "counts places from 0",
                _evaluate_from_zero,
                why="argmax counts from 0, a rank from 1: on top is 1/1.",
                look=f"Section 5 {LESSON}, 'Is it any good?'",
            ),
            Misconception(
                "takes one over the mean rank",
                _evaluate_one_over_mean,
                why="It is the mean of 1/rank: first turned over, then averaged.",
                look=f"Section 5 {LESSON}, the formula",
            ),
            Misconception(
                "gives the mean rank",
                _evaluate_mean_rank,
                why="One question at place 900 would drown all others. The reciprocal keeps each between 0 and 1.",
                look=f"Section 5 {LESSON}, the formula",
            ),
            Misconception(
                "takes a question without a right passage for one with the answer on top",
                _evaluate_lost_on_top,
                why="argmax of a row of False is 0. Such a question counts 0.",
                look=f"Section 5 {LESSON}, 'Is it any good?'",
            ),
            Misconception(
                "forgets in the reciprocal rank what stands behind place k",
                _evaluate_lost_behind_k,
                why="Only the recall looks at the first k. A first right passage at place 20 counts 1/20 in the other.",
                look=f"Section 5 {LESSON}, 'Is it any good?'",
            ),
            Misconception(
                "leaves out questions without a right passage",
                _evaluate_left_out,
                why="They count, as 0: to leave out what fails flatters.",
                look=f"Section 5 {LESSON}, 'Is it any good?'",
            ),
        ],
        hints=(
            "Sort each question's passages, best first. Then `relevant` in that order says all that is needed.",
            "np.take_along_axis(relevant, order, axis=1) sorts the rows; any and argmax do the rest.",
            "recall: right[:, :k].any(axis=1).mean(); MRR: the mean of right.any(axis=1) / (1 + right.argmax(axis=1))",
        ),
        alternatives=[_evaluate_by_loops],
        names=("scores", "relevant", "k"),
    ),
]
