"""Pairs whose every id tells where it comes from: so it can be seen what follows what."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.pretrain.pairs import N_SPECIAL, Pair, assemble, sentence_pairs


def corpus(n_documents: int, rng: np.random.Generator, longest: int = 12) -> list[list[list[int]]]:
    """Documents of 1 to 30 sentences; ids count through all of them, so each occurs once."""
    at, documents = 0, []
    for _ in range(n_documents):
        document = []
        for n in rng.integers(1, longest + 1, size=rng.integers(1, 31)):
            document.append(list(range(at, at + n)))
            at += n
        documents.append(document)
    return documents


def places(documents) -> tuple[dict[int, int], set[int], dict[int, int]]:
    """Id -> its document; the ids that begin a sentence; document -> its first id."""
    of = {i: d for d, document in enumerate(documents) for sentence in document for i in sentence}
    starts = {sentence[0] for document in documents for sentence in document}
    return of, starts, {d: document[0][0] for d, document in enumerate(documents)}


def in_a_row(ids: list[int]) -> bool:
    return ids == list(range(ids[0], ids[0] + len(ids)))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), n_most=st.integers(5, 90), longest=st.sampled_from([1, 12, 60]))
def test_each_pair_is_what_it_says(seed, n_most, longest):
    rng = np.random.default_rng(seed)
    documents = corpus(8, rng, longest)
    of, starts, heads = places(documents)
    for pair in sentence_pairs(documents, n_most, rng):
        a, b = pair.first, pair.second
        assert a and b
        assert len(a) + len(b) + N_SPECIAL <= n_most
        assert in_a_row(a) and in_a_row(b)  # each a stretch of one document, nothing left out
        assert b[0] in starts
        same = of[a[0]] == of[b[0]]
        assert pair.follows == (b[0] == a[-1] + 1 and same)
        assert same == (pair.follows or pair.hard)
        assert not (pair.follows and pair.hard)
        assert pair.label == (0 if pair.follows else 1)
        if pair.hard:
            assert not set(a) & set(b)
        if not pair.follows and b[0] == heads[of[b[0]]] and len(documents[of[b[0]]]) > 1:
            assert pair.hard and a[0] > b[-1]  # swapped


def many(seed: int = 0, **shares):
    rng = np.random.default_rng(seed)
    return sentence_pairs(corpus(600, rng), 64, rng, **shares)


@pytest.mark.parametrize(("p_follows", "p_hard"), [(0.5, 0.5), (0.7, 0.2), (1.0, 0.5), (0.0, 1.0), (0.0, 0.0)])
def test_the_shares_of_each_kind(p_follows, p_hard):
    pairs = many(p_follows=p_follows, p_hard=p_hard)
    n = len(pairs)
    for found, p in (
        (sum(pair.follows for pair in pairs), p_follows),
        (sum(pair.hard for pair in pairs), (1 - p_follows) * p_hard),
    ):
        assert abs(found - n * p) <= 4 * math.sqrt(n * p * (1 - p))


def test_hard_ones_are_swapped_or_from_further_on():
    hard = [pair for pair in many() if pair.hard]
    swapped = [pair for pair in hard if pair.second[0] < pair.first[0]]
    later = [pair for pair in hard if pair.second[0] > pair.first[-1] + 1]
    assert len(swapped) + len(later) == len(hard)
    assert min(len(swapped), len(later)) > 0.3 * len(hard)


def test_rows_are_full_but_for_short_ones():
    documents = [[[1, 2, 3]] * 100] * 20
    lengths = [len(pair.first) + len(pair.second) for pair in sentence_pairs(documents, 63, np.random.default_rng(0))]
    full = sum(n == 60 for n in lengths)
    assert 0.6 * len(lengths) < full < len(lengths)
    certain = sentence_pairs(documents, 63, np.random.default_rng(0), p_follows=1.0, p_short=0.0)
    assert {len(pair.first) + len(pair.second) for pair in certain[:4]} == {60}


def test_lengths_do_not_tell_the_answer():
    pairs = many()
    lengths = np.array([(len(pair.first), len(pair.second)) for pair in pairs])
    follows = np.array([pair.follows for pair in pairs])
    for column in (lengths[:, 0], lengths[:, 1], lengths.sum(1)):
        ranks = column.argsort().argsort()
        larger = (ranks[follows].mean() - ranks[~follows].mean()) / len(pairs) + 0.5
        assert abs(larger - 0.5) < 0.1  # how often a random pair that follows is the longer one


def test_what_a_pair_did_not_use_begins_the_next():
    documents = corpus(10, np.random.default_rng(0), longest=3)
    pairs = sentence_pairs(documents, 300, np.random.default_rng(0), p_follows=0.0, p_hard=0.0)
    read = [i for pair in pairs for i in pair.first]
    assert read == [i for document in documents if len(document) > 1 for i in range(document[0][0], document[-1][0])]


def test_too_long_a_pair_keeps_where_its_parts_meet():
    documents = [[list(range(50)), list(range(50, 100))]]
    (pair,) = sentence_pairs(documents, 23, np.random.default_rng(0), p_follows=1.0)
    assert pair == Pair(list(range(40, 50)), list(range(50, 60)), True, False)
    documents = [[list(range(4)), list(range(4, 100))]]
    (pair,) = sentence_pairs(documents, 23, np.random.default_rng(0), p_follows=1.0)
    assert pair == Pair(list(range(4)), list(range(4, 20)), True, False)


def test_a_seed_gives_the_same_pairs_and_another_others():
    assert many(1) == many(1)
    assert many(1) != many(2)


def test_one_sentence_gives_no_pair():
    assert sentence_pairs([[[1, 2]], [[3]]], 20, np.random.default_rng(0)) == []


@settings(max_examples=40, deadline=None)
@given(n_first=st.integers(1, 10), n_second=st.integers(1, 10), spare=st.integers(0, 5))
def test_the_row_of_a_pair(n_first, n_second, spare):
    pair = Pair(list(range(10, 10 + n_first)), list(range(50, 50 + n_second)), True, False)
    n = n_first + n_second + 3
    ids, kinds, special = assemble(pair, cls=1, sep=2, pad=0, n_context=n + spare)
    assert ids.tolist() == [1, *pair.first, 2, *pair.second, 2] + [0] * spare
    assert kinds.tolist() == [0] * (n_first + 2) + [1] * (n_second + 1) + [0] * spare
    assert special.tolist() == [i < 10 for i in ids.tolist()]
    assert (ids.dtype, kinds.dtype, special.dtype) == (torch.long, torch.long, torch.bool)


def test_what_is_refused():
    rng = np.random.default_rng(0)
    two = [[[1], [2]], [[3], [4]]]
    with pytest.raises(ValueError, match="n_most=4 leaves no room"):
        sentence_pairs(two, 4, rng)
    with pytest.raises(ValueError, match="p_hard is a share from 0 to 1, not 50"):
        sentence_pairs(two, 20, rng, p_hard=50)
    with pytest.raises(ValueError, match="needs two documents"):
        sentence_pairs(two[:1], 20, rng)
    with pytest.raises(ValueError, match="a sentence without ids"):
        sentence_pairs([[[1], []], [[2]]], 20, rng)
    with pytest.raises(ValueError, match=r"a pair of 9 ids .* does not fit into n_context=8"):
        assemble(Pair([1, 2, 3], [4, 5, 6], True, False), cls=1, sep=2, pad=0, n_context=8)
