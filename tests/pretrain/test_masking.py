"""Gaps: how many, what stands in them, and where there is never one."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.pretrain.masking import IGNORE, continuations, mask_tokens, word_numbers

N_VOCAB, MASK = 1000, 4
PIECES = ["[PAD]", "[CLS]", "[SEP]", "play", "##ing", "##s", "he", "."]


def rows(n: int = 200, length: int = 100) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids without the mask's, and what is special: the first, the last, and padding of several lengths."""
    rng = torch.Generator().manual_seed(1)
    ids = torch.randint(5, N_VOCAB, (n, length), generator=rng)
    special = torch.zeros(n, length, dtype=torch.bool)
    special[:, [0, -1]] = True
    special |= torch.arange(length) >= torch.randint(length // 2, length, (n, 1), generator=rng)
    return ids, special


def masked(seed: int = 0, **changes):
    ids, special = rows()
    settings = {"special": special, "mask_id": MASK, "n_vocab": N_VOCAB, **changes}
    return ids, special, *mask_tokens(ids, generator=torch.Generator().manual_seed(seed), **settings)


def close(count: int, n: int, p: float) -> bool:
    """Whether `count` of n is what a chance of p gives, within four standard deviations: wrong once in 16,000 times."""
    return abs(count - n * p) <= 4 * math.sqrt(n * p * (1 - p))


@pytest.mark.parametrize("p", [0.15, 0.4])
def test_as_many_gaps_as_asked_and_what_stands_in_them(p):
    ids, special, x, y = masked(p=p)
    chosen = y != IGNORE
    n = int(chosen.sum())
    assert close(n, int((~special).sum()), p)
    assert close(int((x[chosen] == MASK).sum()), n, 0.8 + 0.1 / N_VOCAB)
    assert close(int((x == ids)[chosen].sum()), n, 0.1 + 0.1 / N_VOCAB)


def test_random_ids_come_from_the_whole_vocabulary_alike():
    ids, special = torch.full((400, 250), 9), torch.zeros(400, 250, dtype=torch.bool)
    rng = torch.Generator().manual_seed(0)
    x, _ = mask_tokens(ids, special=special, mask_id=4, n_vocab=10, p=1.0, p_mask=0.0, p_random=1.0, generator=rng)
    counts = torch.bincount(x.flatten(), minlength=10).double()
    chi_square = ((counts - 10_000) ** 2 / 10_000).sum().item()
    assert chi_square < 29.7  # 9 degrees of freedom: exceeded once in 2,000 times


def test_the_answer_is_what_stood_there_and_the_rest_is_untouched():
    ids, _, x, y = masked()
    chosen = y != IGNORE
    assert torch.equal(y[chosen], ids[chosen])
    assert torch.equal(x[~chosen], ids[~chosen])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), whole=st.booleans(), p=st.sampled_from([0.15, 0.9, 1.0]))
def test_nothing_special_is_ever_masked(seed, whole, p):
    words = torch.arange(rows()[0].shape[1]).expand(rows()[0].shape) // 3 if whole else None
    ids, special, x, y = masked(seed, p=p, words=words)
    assert (y[special] == IGNORE).all()
    assert torch.equal(x[special], ids[special])


def test_shares_of_all_and_nothing():
    ids, special, x, y = masked(p=1.0, p_mask=1.0, p_random=0.0)
    assert (x[~special] == MASK).all()
    assert torch.equal(y[~special], ids[~special])
    ids, special, x, y = masked(p=0.0)
    assert torch.equal(x, ids)
    assert (y == IGNORE).all()
    ids, _, x, y = masked(p_mask=0.0, p_random=0.0)
    assert torch.equal(x, ids)
    assert (y != IGNORE).any()


def test_the_generator_decides():
    first, again, other = masked(3), masked(3), masked(4)
    assert torch.equal(first[2], again[2])
    assert torch.equal(first[3], again[3])
    assert not torch.equal(first[3], other[3])


def test_whole_words_are_chosen_whole_and_as_often():
    ids, special = rows()
    words = word_numbers(ids, torch.arange(N_VOCAB) % 2 == 0)  # every other id goes on with a word
    _, _, _, y = masked(words=words)
    chosen = y != IGNORE
    for row in range(len(ids)):
        hidden = {int(word) for word in words[row][chosen[row]]}
        inside = torch.tensor([int(word) in hidden for word in words[row]])
        assert torch.equal(chosen[row], inside & ~special[row])
    n_words = len({(row, int(word)) for row, at in (~special).nonzero().tolist() for word in [words[row, at]]})
    n_chosen = len({(row, int(words[row, at])) for row, at in chosen.nonzero().tolist()})
    assert close(n_chosen, n_words, 0.15)
    assert not torch.equal(masked()[3], y)


def test_word_numbers():
    names = [["[CLS]", "play", "##ing", "##s", "he", "."], ["##s", "##ing", "he", "play", "##s", "[SEP]"]]
    ids = torch.tensor([[PIECES.index(name) for name in row] for row in names])
    numbers = word_numbers(ids, continuations(PIECES))
    assert numbers.tolist() == [[1, 2, 2, 2, 3, 4], [0, 0, 1, 2, 2, 3]]


def test_what_is_refused():
    ids, special = rows(2, 8)
    good = {"special": special, "mask_id": MASK, "n_vocab": N_VOCAB}
    wrong = [
        (ids.float(), {}, "ids must be whole numbers"),
        (ids[0], {}, "ids must be whole numbers"),
        (ids, {"special": special.long()}, "special must be bool"),
        (ids, {"special": special[:, 1:]}, r"in the shape of ids, \(2, 8\)"),
        (ids, {"mask_id": N_VOCAB}, "mask_id=1000 is not in a vocabulary"),
        (ids, {"p": 15}, "p is a share from 0 to 1, not 15"),
        (ids, {"p_mask": 0.8, "p_random": 0.3}, "together at most 1"),
        (ids, {"words": special.long()[:, 1:]}, "words is the number"),
        (ids, {"words": ids}, "words is the number"),
    ]
    for x, changes, message in wrong:
        with pytest.raises(ValueError, match=message):
            mask_tokens(x, **{**good, **changes})
    with pytest.raises(ValueError, match="from 0 to 7"):
        word_numbers(ids, continuations(PIECES))
