"""lib/sentences.py on a tiny model with random weights; tests/zoo/bert/test_minilm.py has the real one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lib import seed
from lib.heads import States
from lib.sentences import Classifier, Encoder, answers, batches, embed, mean_pool, memory, tune
from lib.spec import get
from lib.stack import Model

ROWS = [[5, 6, 7], [8], [9, 10, 11, 12, 13], [5, 5], [14, 6]]
LABELS = torch.tensor([0, 1, 0, 1, 1])


def encoder(**changes) -> Encoder:
    seed(0)
    sizes = {"n_vocab": 20, "n_positions": 8, "n_layers": 2, "n_heads": 2, "d_model": 8, "d_ff": 16, "std": 0.2}
    return Encoder(Model(get("bert").but(head=States, **sizes | changes))).eval()


def test_the_mean_is_over_the_real_positions():
    y = torch.randn(3, 4, 5, dtype=torch.float64)
    y[1, 2:] = float("nan")
    found = mean_pool(y, torch.tensor([4, 2, 1]))
    for row, n, states in zip(found, (4, 2, 1), y, strict=True):
        assert (row - states[:n].mean(0)).abs().max() < 1e-12


def test_batches_hold_each_row_once_and_similar_lengths():
    found = list(batches(ROWS, size=2))
    assert torch.cat([which for which, _, _ in found]).tolist() == [1, 3, 4, 0, 2]
    for which, ids, lengths in found:
        assert ids.shape[1] == lengths.max()
        for i, row, n in zip(which.tolist(), ids.tolist(), lengths.tolist(), strict=True):
            assert row == ROWS[i] + [0] * (len(row) - n)


def test_a_row_gets_the_same_vector_in_any_batch_and_the_mode_stays():
    model = encoder().train()
    found = embed(model, ROWS, size=3)
    assert model.training and not found.requires_grad
    alone = torch.cat([embed(model, [row]) for row in ROWS])
    assert (found - alone).abs().max() < 1e-6
    assert (found.norm(dim=-1) - 1).abs().max() < 1e-6
    with pytest.raises(ValueError, match="one token or more"):
        answers(model, [[5], []])


def test_tune_moves_what_requires_a_gradient_and_lowers_the_loss():
    classifier = Classifier(encoder(p_dropout=0.0, p_attend=0.0), 2)
    classifier.encoder.model.body.embed.requires_grad_(False)
    before = {name: p.clone() for name, p in classifier.named_parameters()}
    first = F.cross_entropy(answers(classifier, ROWS), LABELS)
    losses = tune(classifier, ROWS * 100, LABELS.repeat(100), lr=1e-2, lr_out=1e-1, size=10)
    assert len(losses) == 50 and not classifier.training
    assert F.cross_entropy(answers(classifier, ROWS), LABELS) < 0.5 * first
    moved = {name for name, p in classifier.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {name for name in before if ".embed." not in name}


def test_a_seed_fixes_the_order_of_the_batches():
    runs = []
    for luck in (3, 3, 4):
        classifier = Classifier(encoder(p_dropout=0.0, p_attend=0.0), 2)
        runs.append(tune(classifier, ROWS * 4, LABELS.repeat(4), lr=1e-3, lr_out=1e-2, size=2, seed=luck))
    assert runs[0] == runs[1] != runs[2]


def test_a_frozen_encoder_is_not_for_tune():
    classifier = Classifier(encoder(), 2)
    classifier.encoder.requires_grad_(False)
    with pytest.raises(ValueError, match="embed the rows once"):
        tune(classifier, ROWS, LABELS, lr=1e-3, lr_out=1e-2)


def test_memory_counts_what_is_trained_and_what_is_kept():
    classifier = Classifier(encoder(), 2)
    ids, lengths = torch.ones(4, 6, dtype=torch.long), torch.full((4,), 6)
    n_all, n_out = sum(p.numel() for p in classifier.parameters()), 8 * 2 + 2
    every, twice = memory(classifier, ids, lengths), memory(classifier, ids.repeat(2, 1), lengths.repeat(2))
    assert (every["weights"], every["gradients"], every["Adam"]) == (4 * n_all, 4 * n_all, 8 * n_all)
    assert 1.8 * every["activations"] < twice["activations"] < 2.2 * every["activations"]
    classifier.encoder.requires_grad_(False)
    line = memory(classifier, ids, lengths)
    assert (line["weights"], line["gradients"], line["Adam"]) == (4 * n_all, 4 * n_out, 8 * n_out)
    assert line["activations"] == 4 * 4 * 8  # the vectors that the last layer reads
