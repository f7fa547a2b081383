"""First vectors out of counts: the counts by hand, and tokens that stand among the same others come out alike."""

import numpy as np
import pytest
import torch

from lib import seed
from lib.pretrain.vectors import counts, vectors


@pytest.mark.parametrize("window", [1, 3])
def test_counts_by_hand(window):
    rng = seed(0)
    ids, ignored = torch.from_numpy(rng.integers(0, 5, (4, 9))), torch.from_numpy(rng.random((4, 9)) < 0.2)
    expected = np.zeros((5, 5))
    for row, left_out in zip(ids.tolist(), ignored.tolist(), strict=True):
        for i in range(9):
            for j in range(9):
                if 0 < abs(i - j) <= window and not (left_out[i] or left_out[j]):
                    expected[row[i], row[j]] += 1
    assert counts(ids, 5, window, ignored).tolist() == expected.tolist()


def test_vectors_are_the_best_approximation_of_the_information():
    """With as many directions as tokens, U sqrt(S) of the matrix that the formula gives, each row of one length."""
    seed(0)
    ids = torch.randint(0, 6, (50, 20)) * torch.randint(0, 2, (50, 20))
    together = counts(ids, 6, 2).double()
    p = together / together.sum()
    smooth = together.sum(1) ** 0.75
    information = (p / (p.sum(1)[:, None] * (smooth / smooth.sum()))).log().clamp(min=0)
    u, s, _ = torch.linalg.svd(information)
    expected = u * s.sqrt()
    expected = expected - expected.mean(0)
    expected = expected / expected.norm(dim=1, keepdim=True) * 0.05 * 6**0.5
    found = vectors(together, 6, 0.05)
    torch.testing.assert_close(found @ found.T, expected @ expected.T)  # signs of directions are free


def test_what_stands_among_the_same_is_alike():
    """cat and dog (1, 2) both sit on a mat (3, 4); rain and snow (5, 6) both fall on a roof (7, 8). 9 is never seen."""
    seed(0)
    scene = torch.tensor([[1, 3, 4, 0], [2, 3, 4, 0], [5, 7, 8, 0], [6, 7, 8, 0]])
    ids = scene[torch.randint(0, 4, (200,))]
    found = vectors(counts(ids, 10, 2, ids == 0), 4, 0.1)
    cosine = torch.nn.functional.cosine_similarity(found[:, None], found, dim=-1)
    assert min(cosine[1, 2], cosine[5, 6]) > 0.9 and cosine[1, 5] < 0.1
    assert found[9].isfinite().all() and found[9].norm() > 0
    assert found[1:9].norm(dim=1).tolist() == pytest.approx([0.2] * 8, rel=1e-4)


def test_what_does_not_fit_is_said():
    ids = torch.zeros(2, 4, dtype=torch.long)
    for window in (0, 4):
        with pytest.raises(ValueError, match="a window is from 1 to the row's length less 1"):
            counts(ids, 3, window)
    with pytest.raises(ValueError, match="take a smaller d_model"):
        vectors(torch.ones(3, 3), 4, 0.1)
