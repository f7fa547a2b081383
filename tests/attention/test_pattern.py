"""A pattern says what its mask and its score say, pair by pair; where there is none, it says why."""

import numpy as np
import pytest
import torch

from lib.attention import masks, scores
from lib.attention.masks import and_masks, causal, sliding_window
from lib.attention.pattern import Pattern
from tests.attention.twins import all_masks, all_scores


def table(p: Pattern, B: int, T: int, S: int) -> torch.Tensor:
    """The pattern's definition, pair by pair, in plain Python: (B, T, S)."""

    def allowed(b: int, t: int, k: int) -> bool:
        q = t + p.shift
        return (
            (p.left is None or q - k <= p.left)
            and (p.right is None or k - q <= p.right)
            and (p.documents is None or bool(p.documents[b, t] == p.documents[b, k]))
            and (p.lengths is None or k < int(p.lengths[b]))
        )

    return torch.tensor([[[allowed(b, t, k) for k in range(S)] for t in range(T)] for b in range(B)])


IDS = torch.tensor([[3, 3, 3, 1, 1, 7, 7], [0, 0, 4, 4, 4, 4, 4]])
OTHER = torch.tensor([[0, 0, 1, 1, 1, 1, 2], [5, 5, 5, 5, 5, 5, 5]])
AT, SO_FAR = torch.arange(4, 7).expand(2, 3), torch.arange(7).expand(2, 7)

EXPRESSIBLE = {
    "full": (masks.full, 3, 7),
    "causal": (causal, 7, 7),
    "causal, more keys than queries": (causal, 3, 7),
    "window": (sliding_window(2), 7, 7),
    "causal window": (and_masks(causal, sliding_window(3)), 7, 7),
    "window in a window": (and_masks(sliding_window(5), sliding_window(2), causal), 7, 5),
    "padding": (masks.padding([2, 9]), 4, 7),
    "padding twice": (and_masks(masks.padding([2, 7]), masks.padding([5, 3]), causal), 7, 7),
    "documents": (masks.documents(IDS), 7, 7),
    "documents of a longer table": (masks.documents(IDS), 5, 5),
    "documents twice": (and_masks(masks.documents(IDS), masks.documents(OTHER)), 7, 7),
    "everything": (
        and_masks(and_masks(causal, sliding_window(3)), masks.documents(IDS), masks.padding([6, 3]), masks.full),
        7,
        7,
    ),
    "moved": (masks.moved(and_masks(causal, sliding_window(3), masks.padding([7, 5])), AT, SO_FAR), 3, 7),
    "moved nowhere": (masks.moved(and_masks(causal, masks.documents(IDS)), SO_FAR, SO_FAR), 7, 7),
}


@pytest.mark.parametrize("name", EXPRESSIBLE)
def test_the_pattern_is_the_mask(name):
    mask, T, S = EXPRESSIBLE[name]
    pattern = Pattern.of(mask, scores.same, 2, 1, T, S)
    assert isinstance(pattern, Pattern), pattern
    assert torch.equal(table(pattern, 2, T, S), masks.dense(mask, 2, 1, T, S)[:, 0])


def test_numbers_are_as_kernels_read_them():
    p = Pattern.of(and_masks(masks.documents(IDS), masks.padding([2, 9])), scores.alibi(3), 2, 3, 7, 7)
    assert p.documents.dtype == p.lengths.dtype == torch.int32 and p.slopes.dtype == torch.float32
    assert p.documents.tolist() == [[0, 0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 1, 1, 1]]  # in order, whatever the ids are


@pytest.mark.parametrize("cap, slopes", [(None, False), (1.5, False), (None, True), (1.5, True)])
def test_the_pattern_is_the_score(cap, slopes):
    parts = ([scores.soft_cap(cap)] if cap else []) + ([scores.alibi(3)] if slopes else [])
    p = Pattern.of(causal, scores.Compose(*parts), 2, 3, 4, 5)
    s = torch.randn(2, 3, 4, 5)
    expected = scores.Compose(*parts)(s, *masks.indices(2, 3, 4, 5))
    y = s if p.cap is None else p.cap * torch.tanh(s / p.cap)
    if p.slopes is not None:
        y = y - p.slopes[:, None, None] * (torch.arange(4)[:, None] - torch.arange(5)).abs()
    torch.testing.assert_close(y, expected)
    assert (p.cap, p.slopes is not None) == (cap, slopes)


def test_a_moved_score_goes_with_its_mask():
    mask, score = masks.moved(causal, AT, SO_FAR), scores.moved(scores.alibi(2), AT, SO_FAR)
    p = Pattern.of(mask, score, 2, 2, 3, 7)
    assert (p.shift, p.right) == (4, 0) and p.slopes is not None
    assert "different places" in Pattern.of(mask, scores.alibi(2), 2, 2, 3, 7)
    assert "different places" in Pattern.of(causal, score, 2, 2, 3, 7)
    assert Pattern.of(mask, scores.soft_cap(2.0), 2, 2, 3, 7).shift == 4  # a cap asks for no positions


MASKS, SCORES = all_masks(np.random.default_rng(1), 2, 2, 7), all_scores(np.random.default_rng(1), 2)
TWICE = torch.tensor([[0, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0]])
REASONS = {
    "mask dilated": (MASKS["dilated"], scores.same),
    "mask or_masks": (MASKS["global tokens"], scores.same),
    "mask block_sparse": (MASKS["block sparse"], scores.same),
    "mask not_mask": (and_masks(causal, MASKS["not causal"]), scores.same),
    "mask <lambda>": (lambda b, h, q, k: q == k, scores.same),
    "an id comes back": (masks.documents(TWICE), scores.same),
    "score T5Bias": (causal, SCORES["T5"]),
    "score RelativeBias": (causal, scores.RelativeBias(2, 3)),
    "before alibi": (causal, scores.Compose(scores.alibi(2), scores.soft_cap(2.0))),
    "can only come once, and": (causal, scores.Compose(scores.soft_cap(3.0), scores.soft_cap(2.0))),
    "alibi can only come once": (causal, scores.Compose(scores.alibi(2), scores.alibi(2))),
    "slots out of order": (masks.moved(causal, SO_FAR, SO_FAR.flip(1)), scores.same),
    "rows of different lengths": (masks.moved(causal, SO_FAR + torch.tensor([[0], [1]]), SO_FAR), scores.same),
    "lengths in the cache": (masks.moved(causal, SO_FAR - 1, SO_FAR), scores.same),
}


@pytest.mark.parametrize("reason", REASONS)
def test_where_there_is_none_it_says_why(reason):
    found = Pattern.of(*REASONS[reason], 2, 2, 7, 7)
    assert isinstance(found, str) and reason in found


def test_documents_are_for_queries_and_keys_of_the_same_positions():
    for mask, T in ((masks.documents(IDS), 3), (masks.moved(masks.documents(IDS), AT, SO_FAR), 3)):
        assert "same positions" in Pattern.of(mask, scores.same, 2, 1, T, 7)


@pytest.mark.parametrize("mask", [masks.padding([3]), masks.documents(IDS[:, :5]), masks.moved(causal, AT, AT)])
def test_too_few_numbers_are_an_error(mask):
    with pytest.raises(ValueError, match="made for a smaller batch"):
        Pattern.of(mask, scores.same, 2, 1, 7, 7)
