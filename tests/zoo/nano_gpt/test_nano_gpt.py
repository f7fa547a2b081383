"""nanoGPT, its child, and the plays they are trained on."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from datasets import Dataset, DatasetDict

from lib.recipe import read
from lib.spec import get
from lib.stack import Model
from lib.tasks import shakespeare
from lib.tasks.shakespeare import Options, Windows, build, nats, split
from lib.train import TrainConfig, fit
from tests.zoo.nano_gpt.verified import CLAIMS

TRAIN, REST = "abcde" * 39 + "abced", ("edcba" * 3, "ae" * 5)


@pytest.fixture
def plays(monkeypatch):
    """Two hundred letters to train on; the rest in two splits, as the hub has it."""
    parts = {"train": [TRAIN], "validation": [REST[0]], "test": [REST[1]]}
    data = DatasetDict({name: Dataset.from_dict({"text": texts}) for name, texts in parts.items()})
    monkeypatch.setattr(shakespeare, "load", lambda name: data)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_claim(claim):
    assert claim.measure() <= claim.tolerance


def test_first_values():
    spec = get("mini-gpt").but(n_vocab=50, n_heads=2, d_model=64, d_ff=256, n_layers=2)
    model = Model(spec)
    logits, states = model(torch.arange(50)[None]), []
    model(torch.arange(50)[None], keep=states)
    assert (logits == 0).all(), "every token is equally likely at first"
    assert torch.equal(states[0], states[1]), "every block is the identity at first"
    assert states[0].std().item() == pytest.approx(1, abs=0.1)
    assert model.get_parameter("body.stack.blocks.0.mix.q.weight").std().item() == pytest.approx(spec.std, rel=0.1)


def test_a_cache_changes_nothing():
    model = Model(get("mini-gpt").but(n_vocab=9, n_heads=2, d_model=16, d_ff=32, n_layers=2))
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    ids = torch.randint(0, 9, (2, 7))
    with torch.no_grad():
        state = model.start(2, 7)
        parts = torch.cat([model.step(ids[:, :3], state), model.step(ids[:, 3:], state)], dim=1)
        torch.testing.assert_close(parts, model(ids), atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("plays")
def test_what_is_kept_aside():
    ids, held, tokenizer = split("tuning")
    assert tokenizer.decode(ids.tolist() + held.tolist()) == TRAIN and len(held) == 10
    ids, held, tokenizer = split("validation")
    assert (tokenizer.decode(ids.tolist()), tokenizer.decode(held.tolist())) == (TRAIN, "".join(REST))


def test_targets_are_the_next_characters():
    windows = Windows(torch.arange(10), 4)
    x, y = windows.batch([0, len(windows) - 1])
    assert x.tolist() == [[0, 1, 2, 3], [5, 6, 7, 8]] and torch.equal(y, x + 1)


@pytest.mark.parametrize("n", [2, 5, 6, 21, 23, 24, 25])
def test_nats_are_over_every_character_but_the_first(n):
    """Beside one window after the other, each by itself; n is one more than a multiple of 4, or not, or below it."""
    torch.manual_seed(0)
    model = Model(get("nano-gpt").but(n_vocab=6, n_positions=4, n_heads=2, d_model=8, d_ff=8, n_layers=1, std=1.0))
    ids, total = torch.randint(0, 6, (n,)), 0.0
    with torch.no_grad():
        for start in range(0, n - 1, 4):
            end = min(start + 4, n - 1)
            total += F.cross_entropy(model(ids[None, start:end])[0], ids[start + 1 : end + 1], reduction="sum").item()
    assert nats(model, ids, n_context=4, n_rows=3) == pytest.approx(total / (n - 1), rel=1e-5)


@pytest.mark.usefixtures("plays")
@pytest.mark.parametrize(("model", "optimizer", "lr"), [("nano-gpt", "adamw", 0.01), ("mini-gpt", "muon", 0.02)])
def test_a_small_one_learns_to_recite(model, optimizer, lr):
    torch.manual_seed(0)
    task = build(Options(model, n_layers=1, n_heads=2, d_model=16, n_context=8), seed=0)
    config = TrainConfig(steps=40, batch=8, optimizer=optimizer, lr=lr, warmup=5, momentum=0.9, accelerator="cpu")
    result = fit(task, config, show="none")
    assert result.history[0]["loss"] > 1.5 and result.history[-1]["loss"] < 0.3
    assert result.metrics["nats"] == nats(task.model, split("tuning")[1], 8)
    assert task.watch == "nats" and not build(Options(model, d_model=16, held="validation"), 0).watch


def test_both_recipes_are_of_one_size_and_see_as_many_characters():
    plain, ours = read("gpt-shakespeare-plain"), read("gpt-shakespeare")
    sizes = ("n_layers", "n_heads", "d_model", "n_context", "held")
    assert [getattr(plain.options, name) for name in sizes] == [4, 4, 128, 64, "validation"]
    assert [getattr(ours.options, name) for name in sizes] == [4, 4, 128, 64, "validation"]
    assert plain.train.steps * plain.train.batch == ours.train.steps * ours.train.batch == 24_000
