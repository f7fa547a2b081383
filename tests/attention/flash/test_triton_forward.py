"""The forward kernel, in Triton's interpreter where there is no GPU: precision, every feature, shapes, what it reads.

Memory that a kernel should have written and did not is NaN: torch fills what it allocates, see `poisoned`.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed: there is none for this system")


from lib.attention import flash
from lib.attention.flash_triton import forward
from lib.attention.flash_triton.tiles import Tile
from lib.attention.pattern import Pattern
from tests.attention.flash.cases import ALONE, DTYPES, PAIRS, assert_precise, draw, error, reference

SMALL = Tile(16, 16, 4, 1)
pytestmark = pytest.mark.usefixtures("poisoned")


def run(case, tile=SMALL):
    y, lse = forward(case.q, case.k, case.v, case.pattern, **case.options, tile=tile)
    assert y.dtype == case.q.dtype and lse.dtype == torch.float32
    return {"y": y, "lse": lse}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("features", ALONE, ids=lambda names: "+".join(names) or "plain")
def test_every_feature_alone(features, dtype, rng):
    case = draw(rng, features, dtype)
    assert_precise(case, run(case), reference(case))


@pytest.mark.parametrize("features, dtype", [(pair, DTYPES[i % 3]) for i, pair in enumerate(PAIRS)], ids=str)
def test_every_pair_of_features(features, dtype, rng):
    case = draw(rng, features, dtype, T=int(rng.integers(17, 33)), S=int(rng.integers(17, 33)))
    assert_precise(case, run(case, Tile(32, 16, 4, 1)), reference(case))


@pytest.mark.parametrize("D, dtype", [(D, DTYPES[i % 3]) for i, D in enumerate((16, 24, 40, 64, 80, 128, 256))])
def test_widths_of_a_head(D, dtype, rng):
    case = draw(rng, ("causal",), dtype, T=20, S=35, D=D, Dv=D, heads=(1, 1))
    assert_precise(case, run(case), reference(case))


@pytest.mark.parametrize("T, S", [(1, 1), (1, 65), (17, 1), (63, 65), (65, 63), (16, 32)])
@pytest.mark.parametrize("tile", [SMALL, Tile(16, 32, 4, 1), Tile(64, 16, 4, 1)], ids=str)
def test_lengths_that_fit_no_tile(T, S, tile, rng):
    case = draw(rng, ("causal", "shift"), torch.float32, T=T, S=S, heads=(1, 1))
    assert_precise(case, run(case, tile), reference(case))


def test_large_scores(rng):
    """Scores of some hundreds: exp of them would overflow, and the maximum changes by as much from tile to tile."""
    case = draw(rng, (), torch.float32)
    case.options["scale"] = 100.0
    found, expected = run(case), reference(case)
    assert error(found["y"], expected["y"]) < 1e-3 and error(found["lse"], expected["lse"]) < 1e-3


@pytest.mark.parametrize("layout", ["B T H D", "D innermost but sliced", "T innermost", "shared by all rows"])
def test_strides(layout, rng):
    case = draw(rng, ("causal", "groups"), torch.float32, B=2, T=20, S=18, D=16, Dv=16)

    def laid_out(x):
        if layout == "B T H D":
            return x.transpose(1, 2).contiguous().transpose(1, 2)
        if layout == "D innermost but sliced":
            return torch.cat((x, x), -1)[..., 16:]
        if layout == "T innermost":
            return x.mT.contiguous().mT
        return x[:1].expand_as(x)

    moved = replace(case, q=laid_out(case.q), k=laid_out(case.k), v=laid_out(case.v))
    plain = replace(moved, q=moved.q.contiguous(), k=moved.k.contiguous(), v=moved.v.contiguous())
    assert moved.q.stride() != plain.q.stride()
    expected = run(plain)
    for name, x in run(moved).items():
        assert torch.equal(x, expected[name])


def test_numbers_of_other_kinds(rng):
    """Lengths of 64 bits, a band wider than any position, slopes and sinks in float64 with gaps between them."""
    case = draw(rng, ("lengths", "alibi", "sinks"), torch.float32, T=20, S=20)
    lengths, slopes = case.pattern.lengths.long(), torch.stack((case.pattern.slopes,) * 2, 1).double()[:, 0]
    pattern = replace(case.pattern, lengths=lengths, slopes=slopes, left=2**40)
    other = replace(case, pattern=pattern, options=case.options | {"sinks": case.options["sinks"].double()})
    expected = run(case)
    for name, x in run(other).items():
        assert torch.equal(x, expected[name])


@pytest.mark.parametrize(
    "axis, stride, sizes", [(0, 2**30, (3, 1, 3)), (1, 2**30, (1, 3, 3)), (2, 2**23 - 8, (1, 1, 272))]
)
def test_places_beyond_two_to_the_31(axis, stride, sizes, rng):
    """The last key stands 2^31 numbers after the first, so places need 64 bits. Nobody touches what lies between."""
    B, H, S = sizes
    q, k, v = (torch.from_numpy(rng.normal(0, 1, (B, H, n, 16))).half() for n in (3, S, S))
    strides = [48, 48, 16, 1]
    strides[axis] = stride
    far = torch.empty_strided(k.shape, strides, dtype=torch.float16)
    far.copy_(k)
    assert (sizes[axis] - 1) * stride >= 2**31
    near, found = (forward(q, keys, v, Pattern(), scale=0.25, tile=SMALL)[0] for keys in (k, far))
    assert torch.equal(found, near)


def test_queries_that_see_nothing(rng):
    case = draw(rng, (), torch.float32, B=2, T=20, S=20)
    pattern = Pattern(lengths=torch.tensor([0, 20]).int(), right=0, shift=-5)
    found = run(replace(case, pattern=pattern))
    assert (found["y"][0] == 0).all() and (found["lse"][0] == -torch.inf).all()
    assert (found["y"][1, :, :5] == 0).all() and (found["lse"][1, :, :5] == -torch.inf).all()
    assert (found["y"][1, :, 5:] != 0).all()


def test_a_query_that_sees_nothing_among_others_that_do(rng):
    """Strictly earlier keys of the own document: the first query of each has none, in the middle of a tile."""
    case = draw(rng, ("documents",), torch.float32, T=20)
    case = replace(case, pattern=replace(case.pattern, right=-1))
    assert_precise(case, run(case), reference(case))


def test_dropout_is_that_of_the_twin(rng):
    """Alike scores, and values that are rows of the identity: y is the table of weights, 0 where one was dropped."""
    T = S = 40
    q, k = torch.zeros(2, 2, T, 16), torch.zeros(2, 2, S, 16)
    v = torch.eye(S).expand(2, 2, S, S)
    seed = int(rng.integers(2**62))
    y, lse = forward(q, k, v, Pattern(), scale=1.0, p_dropout=0.4, seed=seed, tile=SMALL)
    bh = torch.arange(4).view(2, 2, 1, 1)
    kept = flash.kept(seed, 0.4, bh, torch.arange(T)[:, None], torch.arange(S))
    torch.testing.assert_close(y, kept / (S * 0.6))
    assert error(lse, torch.full_like(lse, S).log()) < 1e-6  # dropout comes after the softmax


@pytest.mark.filterwarnings("ignore:All-NaN slice")  # NumPy, where the NaN is read
@pytest.mark.parametrize(
    "pattern, unread, clean",
    [
        (Pattern(right=0), slice(40, 64), slice(0, 32)),
        (Pattern(left=7, right=0), slice(0, 25), slice(32, 64)),
        (Pattern(left=3, right=3), slice(20, 40), slice(0, 16)),
        (Pattern(documents=torch.tensor([[0] * 20 + [1] * 44]).int()), slice(0, 20), slice(32, 64)),
        (Pattern(documents=torch.tensor([[0] * 33 + [1] * 31]).int()), slice(33, 64), slice(0, 32)),
        (Pattern(lengths=torch.tensor([21]).int()), slice(21, 64), slice(0, 64)),
    ],
    ids=["causal", "window", "window both ways", "document after", "document before", "lengths"],
)
def test_what_no_query_of_a_tile_sees_is_not_read(pattern, unread, clean, rng):
    """Tiles of 16: a NaN in keys or values that are ruled out for a whole tile of queries stays out of its answers."""
    case = draw(rng, (), torch.float32, T=64, S=64, heads=(1, 1))
    case.k[:, :, unread] = case.v[:, :, unread] = torch.nan
    found = run(replace(case, pattern=pattern))
    assert found["y"][:, :, clean].isfinite().all() and found["lse"][:, :, clean].isfinite().all()
    everywhere = clean == slice(0, 64)
    assert everywhere or found["y"].isnan().any()  # the others did read it


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"dtype": torch.float64}, "float16, bfloat16 and float32, not torch.float64"),
        ({"D": 257}, "heads may be 256 wide"),
        ({"Dv": 300}, "heads may be 256 wide"),
    ],
)
def test_bad_input(change, complaint, rng):
    case = draw(rng, (), **{"dtype": torch.float32, **change})
    with pytest.raises(ValueError, match=complaint):
        run(case)


def test_neighbours_too_far_apart():
    x = torch.zeros(1, 1, 1, 16).as_strided((1, 1, 1, 16), (1, 1, 2**24, 1))
    with pytest.raises(ValueError, match="too far apart"):
        forward(x, x, x, Pattern(), scale=1.0)
