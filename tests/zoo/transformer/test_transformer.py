"""The transformer: equal to torch's, blind to the future, complete when saved."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lib.attention.masks import padding
from lib.spec import get
from lib.stack import Model
from tests.attention.twins import shaken
from tests.zoo.transformer.verified import CLAIMS

SMALL = {"n_vocab": 17, "n_layers": 2, "n_heads": 2, "d_model": 8, "d_ff": 12}
NAMES = "transformer", "transformer-pre-norm"


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.name}, {claim.reference[:40]}")
def test_claim(claim):
    assert claim.measure() <= claim.tolerance


@pytest.mark.parametrize("name", NAMES)
def test_a_future_token_changes_no_earlier_output(name):
    rng = np.random.default_rng(0)
    model = shaken(Model(get(name).but(**SMALL)), rng).eval()
    source, target = (torch.from_numpy(rng.integers(0, 17, (3, n))) for n in (5, 9))
    before = model(source, target)
    for t in range(9):
        other = target.clone()
        other[:, t:] = (other[:, t:] + 1 + torch.from_numpy(rng.integers(0, 16, (3, 9 - t)))) % 17
        after = model(source, other)
        assert torch.equal(after[:, :t], before[:, :t])
        assert not torch.equal(after[:, t], before[:, t])


@pytest.mark.parametrize("name", NAMES)
def test_every_position_of_the_source_counts_and_none_of_its_padding(name):
    rng = np.random.default_rng(1)
    model = shaken(Model(get(name).but(**SMALL)), rng).eval()
    source, target, lengths = torch.from_numpy(rng.integers(0, 17, (2, 6))), torch.ones(2, 3).long(), [4, 6]
    before = model(source, target, padding(lengths))
    for s in range(6):
        other = source.clone()
        other[:, s] = (other[:, s] + 1) % 17
        same = [bool(torch.equal(a, b)) for a, b in zip(before, model(other, target, padding(lengths)), strict=True)]
        assert same == [s >= 4, False]


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded(name, tmp_path):
    spec = get(name).but(**SMALL)
    one, two = Model(spec).eval(), Model(spec).eval()
    torch.save(one.state_dict(), tmp_path / "weights.pt")
    two.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    ids = torch.arange(12).view(2, 6)
    assert torch.equal(one(ids, ids), two(ids, ids))


def test_every_parameter_learns_and_none_is_kept_twice():
    model = Model(get("transformer").but(**SMALL))
    model(torch.arange(6)[None], torch.arange(5)[None]).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert len(model.state_dict()) == len(list(model.parameters()))


def test_the_paper_s_base_model_has_its_parameters():
    with torch.device("meta"):
        n = sum(p.numel() for p in Model(get("transformer")).parameters())
    look, feed, norm = 4 * (512 * 512 + 512), 512 * 2048 + 2048 + 2048 * 512 + 512, 2 * 512
    assert n == 37000 * 512 + 6 * (look + feed + 2 * norm) + 6 * (2 * look + feed + 3 * norm)
