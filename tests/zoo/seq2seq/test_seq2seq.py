"""Sequence to sequence agrees with its references, decodes as it says, and refuses what it cannot use."""

import pytest
import torch

from lib.tokens.vocabulary import BOS, EOS, PAD, pad
from lib.zoo.seq2seq import Additive, Fixed, Hypothesis, Multiplicative, Pairs, Seq2Seq, expand, reverse_rows
from tests.zoo.seq2seq.verified import CLAIMS


@pytest.fixture
def model() -> Seq2Seq:
    torch.manual_seed(0)
    return Seq2Seq(9, 8, d_embed=4, d_model=6)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_claim(claim):
    assert claim.measure() <= claim.tolerance


def test_rows_turn_round_within_their_length():
    x = torch.arange(1, 9).reshape(2, 4, 1)
    assert reverse_rows(x, torch.tensor([3, 4])).squeeze(-1).tolist() == [[3, 2, 1, 4], [8, 7, 6, 5]]


@pytest.mark.parametrize("attention", [Additive, Multiplicative, Fixed])
def test_padding_gets_no_weight_and_changes_nothing(attention):
    torch.manual_seed(0)
    model = Seq2Seq(9, 8, 4, 6, attention)
    target = torch.tensor([[BOS, 4, 5]])
    logits, weights = model(torch.tensor([[3, 4, 5]]), target)
    padded, padded_weights = model(torch.tensor([[3, 4, 5, PAD, PAD]]), target)
    assert torch.allclose(logits, padded, atol=1e-6)
    assert torch.allclose(weights, padded_weights[:, :, :3], atol=1e-6) and (padded_weights[:, :, 3:] == 0).all()


def test_without_attention_every_step_gets_the_mean(model):
    weights = Fixed(6)(
        torch.randn(2, 3, 6), torch.randn(2, 4, 6), torch.tensor([[True] * 4, [True, True, False, False]])
    )
    assert weights[0].allclose(torch.tensor(0.25)) and weights[1, :, :2].allclose(torch.tensor(0.5))


def test_large_scores_overflow_nothing():
    attention = Multiplicative(4)
    q = torch.full((1, 1, 4), 1e4)
    assert attention(q, q.expand(1, 3, 4), torch.ones(1, 3, dtype=torch.bool)).isfinite().all()


def test_greedy_stops_and_pads(model):
    with torch.no_grad():
        model.decoder.head.bias[EOS] = 100.0
    assert model.greedy(torch.tensor([[3, 4], [5, PAD]]), 5).tolist() == [[EOS], [EOS]]
    with torch.no_grad():
        model.decoder.head.bias.copy_(torch.tensor([100.0, 100.0, -100.0, 0, 5.0, 0, 0, 0]))
    assert model.greedy(torch.tensor([[3, 4]]), 5).tolist() == [[4] * 5]  # PAD and BOS are never written


def test_what_has_ended_stays_as_it_is_beside_what_goes_on():
    torch.manual_seed(4)
    model = Seq2Seq(9, 5, 4, 6)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(0, 1)
    sources = torch.randint(3, 9, (40, 3))
    ids = model.greedy(sources, 8)
    ends = [row.index(EOS) for row in ids.tolist() if EOS in row]
    assert len(set(ends)) > 3
    for row in ids.tolist():
        if EOS in row:
            assert set(row[row.index(EOS) + 1 :]) <= {PAD}


def test_a_finished_hypothesis_is_kept_and_length_counts():
    short, long = Hypothesis((4, EOS), -2.0), Hypothesis((4, 5, 6, 7, EOS), -2.5)
    assert short.score(0.0) > long.score(0.0) and short.score(1.0) < long.score(1.0)


def test_a_beam_returns_at_most_its_width_best_first(model):
    for width in (1, 2, 5):
        found = model.beam(torch.tensor([[3, 4, 5]]), width, 6, alpha=0.7)
        scores = [h.score(0.7) for h in found]
        assert len(found) <= width and scores == sorted(scores, reverse=True)
        assert len({h.ids for h in found}) == len(found)


def test_expand_finds_the_best_of_all_continuations():
    log_p = torch.tensor([[0.4, 0.3, 0.3], [0.9, 0.1, 1e-9]]).log()
    parents, pieces, sums = expand(log_p, torch.tensor([0.6, 0.4]).log(), 2)
    assert parents.tolist() == [1, 0] and pieces.tolist() == [0, 0]
    assert sums.exp().tolist() == pytest.approx([0.36, 0.24])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([[PAD, PAD]], "Row 0 of the source is empty"),
        ([[3, 4], [PAD, PAD]], "Row 1 of the source is empty"),
        ([[3, PAD, 4]], "stands between pieces"),
        ([[3, 9]], "from 0 to 8"),
        ([[3, -1]], "from 0 to 8"),
        ([[3.0, 4.0]], "whole numbers"),
        ([3, 4], r"shape \(rows, positions\)"),
    ],
)
def test_sources_that_cannot_be_read_are_refused(model, source, message):
    with pytest.raises(ValueError, match=message):
        model.greedy(torch.tensor(source), 3)


def test_other_input_that_cannot_be_used_is_refused(model):
    x = torch.tensor([[3, 4]])
    with pytest.raises(ValueError, match="target's ids must be whole numbers from 0 to 7"):
        model(x, torch.tensor([[BOS, 8]]))
    with pytest.raises(ValueError, match="width=0 must be at least 1"):
        model.beam(x, 0, 5)
    with pytest.raises(ValueError, match="n_steps=0 must be at least 1"):
        model.greedy(x, 0)
    with pytest.raises(ValueError, match="one source at a time"):
        model.beam(x.expand(2, -1), 2, 5)
    with pytest.raises(ValueError, match="d_model=5 must be even"):
        Seq2Seq(9, 8, 4, 5)
    with pytest.raises(ValueError, match="One target for each source"):
        Pairs([[3]], [])


def test_a_batch_of_pairs_is_as_long_as_its_own_rows():
    pairs = Pairs([[3], [4, 5, 6], [7, 8]], [[4], [5], [6, 7]])
    x, y = pairs.batch([0, 2])
    assert x.tolist() == [[3, PAD], [7, 8]]
    assert y.tolist() == [[BOS, 4, EOS, PAD], [BOS, 6, 7, EOS]]
    assert torch.equal(x, pad([[3], [7, 8]]))
