"""Scores: the bucket of every distance, what is learned at first, what they refuse. Their numbers: `verified.py`."""

import pytest
import torch

from lib.attention import scores
from lib.attention.core import Attention, attend
from lib.attention.masks import indices
from tests.attention import score_twins


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("n, far", [(32, 128), (16, 64), (8, 20), (64, 512)])
def test_every_distance_has_its_bucket(n, far, bidirectional):
    """The logarithm is in float32, whole numbers in the reference: no distance falls on the other side of a border."""
    distances = torch.arange(-2000, 2001)
    expected = [score_twins.t5_bucket(d, n, far, bidirectional) for d in distances.tolist()]
    assert scores.t5_bucket(distances, n, far, bidirectional).tolist() == expected
    assert len(set(expected)) == n - bidirectional  # nobody is at distance 0 and ahead


def test_a_relative_table_starts_as_nothing():
    s = torch.randn(2, 3, 4, 5)
    assert torch.equal(scores.RelativeBias(3, 2)(s, *indices(2, 3, 4, 5)), s)


def test_a_composition_learns_what_its_parts_learn():
    bias = scores.RelativeBias(2, 3)
    inner = scores.Compose(scores.soft_cap(2.0), bias)
    layer = Attention(4, 2, score=scores.Compose(scores.alibi(2), inner))
    assert any(p is bias.weight for p in layer.parameters())


def test_of_none_is_the_score_itself():
    q = torch.randn(1, 2, 3, 4)
    assert torch.equal(attend(q, q, q, score=scores.Compose()), attend(q, q, q))


def test_a_cap_holds_back_what_is_large():
    s = torch.tensor([-1e6, -0.01, 0.0, 0.01, 1e6])
    y = scores.soft_cap(50.0)(s, *[torch.zeros(5)] * 4)
    torch.testing.assert_close(y, torch.tensor([-50.0, -0.01, 0.0, 0.01, 50.0]), rtol=0, atol=1e-6)


BAD = {
    "the cap is a positive number, not 0": lambda: scores.soft_cap(0),
    "at least 1 head, not 0": lambda: scores.alibi(0),
    "there is at least 1 head, not 0": lambda: scores.T5Bias(0),
    "there is at least 1 head": lambda: scores.RelativeBias(0, 3),
    "n_buckets=3 is too few": lambda: scores.T5Bias(2, 3),
    "n_buckets=1 is too few": lambda: scores.T5Bias(2, 1, bidirectional=False),
    "max_distance must exceed 8, the exact buckets, not 8": lambda: scores.T5Bias(2, 32, 8),
    "max_distance must exceed 16, the exact buckets, not 10": lambda: scores.T5Bias(2, 32, 10, bidirectional=False),
    "max_distance is at least 1, not 0": lambda: scores.RelativeBias(2, 0),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_said(message):
    with pytest.raises(ValueError) as error:
        BAD[message]()
    assert message in str(error.value)
