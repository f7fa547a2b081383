"""Checks of 32_seq2seq_attention on beam search: one step, and which hypothesis wins."""

from __future__ import annotations

import torch
from numpy.random import Generator
from torch import Tensor

from lib.checks import Case, Exercise, Misconception
from lib.tokens.vocabulary import EOS

LESSON = "of 32_seq2seq_attention"

# 32.6 -----------------------------------------------------------------------------------------------------------------


def expand(log_p: Tensor, so_far: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor]:
    best = (so_far[:, None] + log_p).flatten().topk(width)
    return best.indices // log_p.shape[1], best.indices % log_p.shape[1], best.values


def _expand_sorted(log_p, so_far, width):
    found = [(so_far[i] + log_p[i, k], i, k) for i in range(len(log_p)) for k in range(log_p.shape[1])]
    found = sorted(found, key=lambda each: -each[0])[:width]
    return (
        torch.tensor([i for _, i, _ in found]),
        torch.tensor([k for _, _, k in found]),
        torch.stack([s for s, _, _ in found]),
    )


def _best_of(total, width):
    best = total.flatten().topk(width)
    return best.indices // total.shape[1], best.indices % total.shape[1], best.values


def _expand_forgets(log_p, so_far, width):
    return _best_of(log_p, width)


def _expand_each_own(log_p, so_far, width):
    total = so_far[:, None] + log_p
    best = total.max(1)
    order = best.values.argsort(descending=True)[:width]
    return order, best.indices[order], best.values[order]


def _expand_best_only(log_p, so_far, width):
    parent = int(so_far.argmax())
    best = (so_far[parent] + log_p[parent]).topk(width)
    return torch.full_like(best.indices, parent), best.indices, best.values


def _expand_probabilities(log_p, so_far, width):
    return _best_of(so_far[:, None].exp() * log_p.exp(), width)


def _expand_adds_probabilities(log_p, so_far, width):
    return _best_of(so_far[:, None].exp() + log_p.exp(), width)


def _expand_worst(log_p, so_far, width):
    parents, pieces, sums = _best_of(-(so_far[:, None] + log_p), width)
    return parents, pieces, -sums


def _expand_wrong_division(log_p, so_far, width):
    best = (so_far[:, None] + log_p).flatten().topk(width)
    return best.indices // len(log_p), best.indices % len(log_p), best.values


def _expand_swapped(log_p, so_far, width):
    parents, pieces, sums = _best_of(so_far[:, None] + log_p, width)
    return pieces, parents, sums


def _expand_own_score(log_p, so_far, width):
    parents, pieces, sums = _best_of(so_far[:, None] + log_p, width)
    return parents, pieces, sums - so_far[parents]


def _beam_case(rng: Generator) -> tuple:
    n, v = int(rng.integers(3, 5)), int(rng.integers(6, 9))
    log_p = torch.from_numpy(rng.normal(0, 1.5, (n, v))).log_softmax(-1)
    so_far = torch.from_numpy(-rng.random(n) * 2 - 0.5)
    return log_p, so_far, int(rng.integers(3, 5))


# 32.7 -----------------------------------------------------------------------------------------------------------------


def winner(hypotheses: list[tuple[list[int], float]], alpha: float) -> list[int]:
    ended = [each for each in hypotheses if each[0][-1] == EOS] or hypotheses
    return max(ended, key=lambda each: each[1] / len(each[0]) ** alpha)[0]


def _winner_loop(hypotheses, alpha):
    finished = any(EOS in ids for ids, _ in hypotheses)
    best, best_score = None, float("-inf")
    for ids, log_p in hypotheses:
        score = log_p / len(ids) ** alpha
        if score > best_score and (EOS in ids or not finished):
            best, best_score = ids, score
    return best


def _ended(hypotheses):
    return [each for each in hypotheses if each[0][-1] == EOS] or hypotheses


def _winner_bare_sum(hypotheses, alpha):
    return max(_ended(hypotheses), key=lambda each: each[1])[0]


def _winner_always_mean(hypotheses, alpha):
    return max(_ended(hypotheses), key=lambda each: each[1] / len(each[0]))[0]


def _winner_takes_unfinished(hypotheses, alpha):
    return max(hypotheses, key=lambda each: each[1] / len(each[0]) ** alpha)[0]


def _winner_finished_only(hypotheses, alpha):
    ended = [each for each in hypotheses if each[0][-1] == EOS]
    return max(ended, key=lambda each: each[1] / len(each[0]) ** alpha)[0]


def _winner_multiplies(hypotheses, alpha):
    return max(_ended(hypotheses), key=lambda each: each[1] * len(each[0]) ** alpha)[0]


def _winner_probabilities(hypotheses, alpha):
    p = torch.tensor([each[1] for each in _ended(hypotheses)]).exp()
    n = torch.tensor([float(len(each[0])) for each in _ended(hypotheses)])
    return _ended(hypotheses)[int((p / n**alpha).argmax())][0]


def _winner_without_eos(hypotheses, alpha):
    return max(_ended(hypotheses), key=lambda each: each[1] / (len(each[0]) - (each[0][-1] == EOS) or 1) ** alpha)[0]


def _winner_smallest(hypotheses, alpha):
    return min(_ended(hypotheses), key=lambda each: each[1] / len(each[0]) ** alpha)[0]


def _hypotheses_case(rng: Generator) -> tuple:
    found = []
    for length in (*range(1, 7), *rng.integers(2, 8, 2).tolist()):
        ids = [*rng.integers(3, 20, length).tolist(), EOS]
        found.append((ids, -float(0.5 + rng.random() * 0.7) * (len(ids)) ** 0.7))
    found += [(rng.integers(3, 20, 9).tolist(), -0.4 - float(rng.random()) * 0.2)]  # likely, and not finished
    return [found[i] for i in rng.permutation(len(found))], float(rng.choice([0.0, 0.5, 0.7, 1.0, 1.5]))


EXERCISES = [
    Exercise(
        "32.6",
        "One step of beam search",
        minutes=15,
        difficulty=2,
        reference=expand,
        cases=[
            _beam_case,
            Case("one hypothesis", torch.tensor([[0.5, 0.3, 0.2]]).log(), torch.tensor([-1.0]), 2),
            Case(
                "very small probabilities",
                torch.tensor([[-800.0, -900.0, -0.5], [-1.0, -2.0, -900.0]]),
                torch.tensor([-2000.0, -2001.0]),
                2,
            ),
        ],
        misconceptions=[
            Misconception(
                "forgets the sums so far",
                _expand_forgets,
                why="A likely piece after an unlikely beginning is no likely hypothesis. Add `so_far` of its parent.",
                look=f"Section 10 {LESSON}",
            ),
            Misconception(
                "keeps the best piece of each hypothesis, one for each",
                _expand_each_own,
                why="The best two may come from the same parent. All continuations of all hypotheses compete.",
                look=f"Section 10 {LESSON}",
            ),
            Misconception(
                "extends the best hypothesis alone",
                _expand_best_only,
                why="That is greedy at every step but the last. All hypotheses are extended, and then compared.",
                look=f"Section 10 {LESSON}",
            ),
            Misconception(
                "multiplies probabilities instead of adding logarithms",
                _expand_probabilities,
                why="exp(-2000) is 0 in floating point: all long hypotheses tie. Sums of logarithms stay exact.",
                look=f"Section 10 {LESSON}",
            ),
            Misconception(
                "adds probabilities",
                _expand_adds_probabilities,
                why="The probability of two things together is a product; the sum belongs to the logarithms.",
                look=f"Section 10 {LESSON}",
            ),
            Misconception(
                "keeps the least likely",
                _expand_worst,
                why="Log-probabilities are negative; the likeliest is the largest, the one nearest to 0.",
                look=f"Section 10 {LESSON}",
            ),
            Misconception(
                "divides by the number of hypotheses to find parent and piece",
                _expand_wrong_division,
                why="In the flattened table a row has V entries, the size of the vocabulary. Place i is row i // V, "
                "column i % V.",
                look=f"Section 10 {LESSON}",
            ),
            Misconception(
                "swaps parents and pieces",
                _expand_swapped,
                why="First the hypothesis that is extended, then the piece, then the sum.",
                look=f"Section 10 {LESSON}",
            ),
            Misconception(
                "returns the last piece's log-probability instead of the whole sum",
                _expand_own_score,
                why="The next step needs the sum over the whole hypothesis.",
                look=f"Section 10 {LESSON}",
            ),
        ],
        hints=(
            "How many continuations are there in all, and what is the score of each?",
            "Add `so_far[:, None]` to the table, flatten it, take `topk(width)`. Which row and column is place i?",
            "best = total.flatten().topk(width); parents = best.indices // V; pieces = best.indices % V; best.values",
        ),
        alternatives=[_expand_sorted],
        names=("log_p", "so_far", "width"),
    ),
    Exercise(
        "32.7",
        "Which hypothesis wins",
        minutes=12,
        difficulty=2,
        reference=winner,
        cases=[
            _hypotheses_case,
            Case("none has ended", [([5, 6], -3.0), ([7, 8], -2.0)], 1.0),
            Case("long and good", [([5, EOS], -2.0), ([5, 6, 7, 8, EOS], -2.5)], 1.0),
            Case("nearly equal means", [([5, EOS], -1.0), ([5, 6, 7, 8, EOS], -3.0)], 1.0),
            Case("long and sure", [([5, EOS], -0.5), ([5, 6, 7, 8, EOS], -0.15)], 1.0),
            Case("long and good, the bare sum", [([5, EOS], -2.0), ([5, 6, 7, 8, EOS], -2.5)], 0.0),
        ],
        misconceptions=[
            Misconception(
                "compares bare sums: the length does not count",
                _winner_bare_sum,
                why="Every further piece adds a negative number, so the shortest output wins too often. Divide by the "
                "length to the power alpha.",
                look=f"Section 10 {LESSON}",
            ),
            Misconception(
                "always takes the mean, whatever alpha is",
                _winner_always_mean,
                why="alpha sets how much the length counts: 0 not at all, 1 the mean.",
                look=f"Section 10 {LESSON}",
            ),
            Misconception(
                "lets an unfinished hypothesis win against finished ones",
                _winner_takes_unfinished,
                why="What has no EOS was cut off in the middle. It may win only where none has ended.",
                look=f"Section 10 {LESSON}",
            ),
            Misconception(
                "has no answer where none has ended",
                _winner_finished_only,
                why="At the last step a beam may hold unfinished hypotheses alone. The best of them is better than "
                "none.",
                look=f"Section 10 {LESSON}",
            ),
            Misconception(
                "multiplies by the length",
                _winner_multiplies,
                why="The sums are negative: times the length, long outputs lose twice. Divide.",
                look=f"Section 10 {LESSON}",
            ),
            Misconception(
                "turns the sums into probabilities before dividing",
                _winner_probabilities,
                why="A probability divided by the length punishes long outputs too. What is divided is the logarithm: "
                "that is the mean for each piece.",
                look=f"Section 10 {LESSON}",
            ),
            Misconception(
                "does not count EOS as a piece",
                _winner_without_eos,
                why="To end is a choice like the others, and its log-probability is in the sum. So it counts in the "
                "length.",
                look=f"Section 10 {LESSON}",
            ),
            Misconception(
                "takes the smallest score",
                _winner_smallest,
                why="Log-probabilities are negative; the best is the largest, the one nearest to 0.",
                look=f"Section 10 {LESSON}",
            ),
        ],
        hints=(
            "Which hypotheses may win at all? And by which number are they compared?",
            "Those whose last piece is EOS, if there are any. Compare log_p / length ** alpha; EOS counts as a piece.",
            "ended = [h for h in hypotheses if h[0][-1] == EOS] or hypotheses; then max with a key.",
        ),
        alternatives=[_winner_loop],
        names=("hypotheses", "alpha"),
    ),
]
