"""The plain torch twin: against lib.attention.core in float64, feature by feature and in pairs; Philox; bad input."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lib.attention import flash
from lib.attention.pattern import Pattern
from tests.attention.flash.cases import ALONE, PAIRS, allowed, assert_precise, draw, error, reference
from tests.attention.flash.verified import CLAIMS


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.name} / {claim.reference}")
def test_claims(claim):
    if "triton" in claim.name:
        pytest.importorskip("triton", reason="Triton is not installed: there is none for this system")
    assert claim.measure() <= claim.tolerance


@pytest.mark.parametrize("features", ALONE + PAIRS, ids=lambda names: "+".join(names) or "plain")
def test_every_feature_alone_and_in_pairs(features, rng):
    case = draw(rng, features, torch.float64, T=int(rng.integers(1, 30)), S=int(rng.integers(1, 30)))
    expected = reference(case)
    for name, x in case.call(flash, tile=int(rng.integers(1, 12))).items():
        assert x.dtype == torch.float64 and error(x, expected[name]) < 1e-10, name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_low_precision(dtype, rng):
    case = draw(rng, ("causal", "sinks", "cap", "groups"), dtype)
    found = case.call(flash, tile=16)
    assert found["lse"].dtype == torch.float32 and found["y"].dtype == found["dq"].dtype == dtype
    assert_precise(case, found, reference(case))


def test_gradcheck(rng):
    """The backward is the derivative of the forward, by finite differences, lse and sinks included."""
    case = draw(
        rng, ("window", "shift", "cap", "alibi", "dropout", "sinks", "groups"), torch.float64, T=5, S=6, D=3, Dv=2
    )
    case = case.to(torch.float64)
    options = {**case.options, "tile": 4}

    class Flash(torch.autograd.Function):
        @staticmethod
        def forward(ctx, q, k, v, sinks):
            y, lse = flash.forward(q, k, v, case.pattern, **{**options, "sinks": sinks})
            ctx.save_for_backward(q, k, v, sinks, y, lse)
            return y, lse

        @staticmethod
        def backward(ctx, dy, dlse):
            q, k, v, sinks, y, lse = ctx.saved_tensors
            return flash.backward(dy, q, k, v, y, lse, case.pattern, **{**options, "sinks": sinks, "dlse": dlse})

    leaves = [x.clone().requires_grad_() for x in (case.q, case.k, case.v, case.options["sinks"])]
    assert torch.autograd.gradcheck(Flash.apply, leaves)


def test_a_query_that_sees_nothing(rng):
    """Zeros out, -inf as the logarithm of an empty sum, no gradient to anyone, whatever dlse says."""
    case = draw(rng, ("lengths",), torch.float64, B=2, T=3, S=4)
    case = replace(
        case, pattern=Pattern(lengths=torch.tensor([0, 4]).int()), dlse=torch.full_like(case.dlse, torch.nan)
    )
    y, lse = flash.forward(case.q, case.k, case.v, case.pattern, **case.options)
    assert (y[0] == 0).all() and (lse[0] == -torch.inf).all() and lse[1].isfinite().all()
    for gradient in case.call_backward(flash, y, lse).values():
        assert (gradient[0] == 0).all()


def test_tiles_that_nobody_sees_are_not_read(rng):
    case = draw(rng, (), torch.float64, T=8, S=40)
    case = replace(case, pattern=Pattern(left=3, right=0, shift=20))  # sees the keys 17 to 27
    for x in (case.k, case.v):
        x[:, :, :17] = x[:, :, 28:] = torch.nan
    assert all(torch.isfinite(x[:, :, 17:28] if n in ("dk", "dv") else x).all() for n, x in case.call(flash).items())


def test_intervals_are_the_mask(rng):
    for features in ALONE + PAIRS:
        case = draw(rng, features, torch.float32, T=int(rng.integers(1, 20)), S=int(rng.integers(1, 20)))
        T, S = case.q.shape[2], case.k.shape[2]
        lo, hi = flash.intervals(case.pattern, T, S)
        k = torch.arange(S)
        yes = (lo[..., None] <= k) & (k < hi[..., None])
        assert torch.equal(yes.expand(len(case.q), T, S), allowed(case.pattern, len(case.q), T, S)), features
        assert (lo.diff(dim=1) >= 0).all() and (hi.diff(dim=1) >= 0).all(), features


@pytest.mark.parametrize(
    "key, counter, word",
    [
        ((0, 0), (0, 0, 0, 0), 0x6627E8D5),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF,) * 4, 0x408F276D),
        ((0xA4093822, 0x299F31D0), (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), 0xD16CFE09),  # digits of pi
    ],
)
def test_philox(key, counter, word):
    """The known answers that its authors publish with their library, Random123, for ten rounds of philox4x32."""
    assert int(flash.philox(key[1] << 32 | key[0], *(torch.tensor(c) for c in counter))) == word


def test_kept():
    """The share is right, near counters are unrelated, seeds differ in all their bits, a tile sees its own part."""
    bh, t, s = torch.arange(4).view(-1, 1, 1), torch.arange(64).view(-1, 1), torch.arange(64)
    kept = flash.kept(7, 0.25, bh, t, s).double()
    assert abs(kept.mean() - 0.75) < 0.02  # 16384 draws: 6 standard deviations
    for axis in range(3):
        near = kept.narrow(axis, 0, kept.shape[axis] - 1), kept.narrow(axis, 1, kept.shape[axis] - 1)
        assert abs(torch.corrcoef(torch.stack([x.flatten() for x in near]))[0, 1]) < 0.06
    assert torch.equal(flash.kept(7, 0.25, bh[2:], t[5:9], s[3:]).double(), kept[2:, 5:9, 3:])
    for bit in (0, 31, 32, 62):
        assert not torch.equal(flash.kept(7 ^ 1 << bit, 0.25, bh, t, s).double(), kept)
    assert flash.kept(7, 0.0, bh, t, s).all()


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"p_dropout": 1.0}, "p_dropout is a probability below 1, not 1.0"),
        ({"seed": -1}, "seed is a whole number from 0"),
        ({"pattern": Pattern(cap=0.0)}, "cap is a positive number"),
        ({"pattern": Pattern(documents=torch.zeros(2, 5).int())}, r"documents must be whole numbers of shape \(2, 4\)"),
        ({"pattern": Pattern(documents=torch.zeros(2, 4))}, "documents must be whole numbers"),
        ({"pattern": Pattern(documents=torch.zeros(2, 4).int(), shift=1)}, "documents are for self-attention"),
        ({"pattern": Pattern(lengths=torch.zeros(3).int())}, r"lengths must be whole numbers of shape \(2,\)"),
        ({"pattern": Pattern(slopes=torch.zeros(2))}, r"slopes must be floating-point numbers of shape \(3,\)"),
        ({"pattern": Pattern(slopes=torch.zeros(3, device="meta"))}, "devices differ: q on cpu, slopes on meta"),
        ({"sinks": torch.zeros(2)}, "sinks"),
        ({"k": torch.zeros(2, 2, 4, 5), "v": torch.zeros(2, 2, 4, 5)}, "multiple"),
        ({"v": torch.zeros(2, 3, 4, 5).double()}, "dtypes differ"),
    ],
)
def test_bad_input(change, complaint):
    call = {name: torch.zeros(2, 3, 4, 5) for name in "qkv"} | {"pattern": Pattern(), "scale": 1.0}
    with pytest.raises(ValueError, match=complaint):
        flash.forward(**call | change)


@pytest.mark.parametrize("name", ["dy", "y", "lse", "dlse"])
def test_bad_input_to_backward(name):
    call = {name: torch.zeros(2, 3, 4, 5) for name in ("dy", "q", "k", "v", "y")}
    call |= {"lse": torch.zeros(2, 3, 4), "dlse": torch.zeros(2, 3, 4)}
    with pytest.raises(ValueError, match=f"{name} must be of shape"):
        flash.backward(**call | {name: torch.zeros(2, 3, 1)}, pattern=Pattern(), scale=1.0)
    if name in ("dy", "y"):
        with pytest.raises(ValueError, match="dtypes differ"):
            flash.backward(**call | {name: call[name].half()}, pattern=Pattern(), scale=1.0)
