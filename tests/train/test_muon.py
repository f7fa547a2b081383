"""Muon beside the singular value decomposition, and beside torch.optim.Muon."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lib.train import ConfigError, Task, TensorExamples, TrainConfig, fit
from lib.train.muon import COEFFICIENTS, Muon, hidden, orthogonal
from lib.train.schedule import make_optimizer


def rounds(s, coefficients=COEFFICIENTS):
    """What becomes of singular values."""
    for a, b, c in coefficients:
        s = a * s + b * s**3 + c * s**5
    return s


@pytest.mark.parametrize("shape", [(1, 5, 5), (2, 4, 9), (2, 9, 4), (1, 1, 6), (3, 8, 7)])
def test_orthogonal_is_the_polynomial_of_the_singular_values(shape):
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    u, s, vt = torch.linalg.svd(x, full_matrices=False)
    norm = s.square().sum(-1, keepdim=True).sqrt() + 1e-7
    assert (orthogonal(x) - u * rounds(s / norm)[..., None, :] @ vt).abs().max() < 1e-10


def test_what_the_coefficients_promise():
    y = rounds(np.geomspace(0.003, 1, 100_000))
    assert y.min() == pytest.approx(0.8, abs=0.003) and y.max() == pytest.approx(1.2, abs=0.003)
    assert 290 < rounds(1e-6) / 1e-6 < 300


def test_zeros_stay_zeros():
    assert torch.equal(orthogonal(torch.zeros(2, 3, 4)), torch.zeros(2, 3, 4))


class Deep(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(7, 4)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 4)) for _ in range(2))
        self.out = nn.Linear(4, 3)

    def forward(self, ids):
        x = self.table(ids)
        for block in self.blocks:
            x = x + block(x)
        return self.out(x)


CONFIG = TrainConfig(steps=1, optimizer="muon", lr=0.03, momentum=0.9, weight_decay=0.1, betas=(0.8, 0.95))


@pytest.fixture
def jordan(monkeypatch):
    """Our rounds with the coefficients that torch uses, and as many of them."""
    monkeypatch.setattr("lib.train.muon.COEFFICIENTS", ((3.4445, -4.7750, 2.0315),) * 5)


@pytest.mark.usefixtures("jordan")
def test_ten_updates_beside_torchs(monkeypatch):
    """Hidden matrices as torch.optim.Muon moves them, all else as torch.optim.AdamW does, from the same gradients."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda x: x.clone())  # torch's Muon in float64, as ours
    torch.manual_seed(0)
    ours, theirs = Deep().double(), Deep().double()
    theirs.load_state_dict(ours.state_dict())
    inside = hidden(theirs)
    others = [p for p in theirs.parameters() if all(p is not each for each in inside)]
    assert len(inside) == 4 and len(others) == 7
    matrices = {"lr": 0.03, "momentum": 0.9, "weight_decay": 0.1, "adjust_lr_fn": "match_rms_adamw"}
    groups = [
        {"params": [p for p in others if p.ndim == 2], "weight_decay": 0.1},
        {"params": [p for p in others if p.ndim < 2], "weight_decay": 0.0},
    ]
    pair = torch.optim.Muon(inside, **matrices), torch.optim.AdamW(groups, lr=0.03, betas=(0.8, 0.95))
    mine, g = make_optimizer(ours, CONFIG), torch.Generator().manual_seed(1)
    for step in range(10):
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            p.grad = torch.randn(p.shape, generator=g, dtype=torch.float64)
            q.grad = p.grad.clone()
        for optimizer in (mine, *pair):
            for group in optimizer.param_groups:
                group["lr"] = 0.03 / (step + 1)  # as the loop sets it
            optimizer.step()
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert (
                p - q
            ).abs().max() < 1e-7  # what is added to a norm before it divides: 1e-7 here, at least 1e-7 there


def test_which_matrices_are_hidden():
    model = Deep()
    assert [tuple(p.shape) for p in hidden(model)] == [(6, 4), (4, 6)] * 2
    model.get_parameter("blocks.0.0.weight").requires_grad_(False)
    tied = nn.Parameter(torch.ones(4, 4))
    model.get_submodule("blocks.1.0").weight = model.get_submodule("blocks.1.2").weight = tied  # counted once
    assert [tuple(p.shape) for p in hidden(model)] == [(4, 6), (4, 4)]


def test_parameters_without_a_gradient_stay():
    model = Deep()
    before = [p.clone() for p in model.parameters()]
    make_optimizer(model, CONFIG).step()
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


def test_what_cannot_be_trained_so():
    with pytest.raises(ValueError, match=r"found a parameter of shape \(4,\): give it to AdamW"):
        Muon([{"params": [nn.Parameter(torch.ones(4))], "muon": True}], 0.1, 0.9, (0.9, 0.99))
    with pytest.raises(ConfigError, match="blocks; the model has none"):
        make_optimizer(nn.Linear(3, 3), CONFIG)
    with pytest.raises(ConfigError, match="optimizer='muon' needs whole matrices"):
        TrainConfig(steps=1, optimizer="muon", strategy="fsdp")


def test_a_resumed_run_ends_with_the_same_bits(tmp_path):
    def task(stop: int = 99) -> Task:
        def loss(model, batch):
            seen.append(batch)
            if len(seen) == stop:
                raise ZeroDivisionError("killed")
            return F.cross_entropy(model(batch[0]), batch[1], reduction="sum"), len(batch[1])

        torch.manual_seed(0)
        ids, seen = torch.randint(0, 7, (40,)), []
        return Task(Deep(), TensorExamples(ids, ids % 3), loss)

    config = replace(CONFIG, steps=8, batch=10, accelerator="cpu", save_every=5)
    whole, again = task(), task()
    fit(whole, config, tmp_path / "whole", show="none")
    with pytest.raises(ZeroDivisionError):
        fit(task(stop=7), config, tmp_path / "killed", show="none")
    assert fit(again, config, tmp_path / "killed", resume=True, show="none").step == 8
    for p, q in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(p, q)
