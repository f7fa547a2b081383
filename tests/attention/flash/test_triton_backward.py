"""The backward kernels, in Triton's interpreter where there is no GPU. y and lse come from the twin in plain torch.

As in test_triton_forward.py, memory that a kernel should have written and did not is NaN.
"""

from __future__ import annotations

import inspect
from dataclasses import replace

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed: there is none for this system")

from triton import knobs

from lib.attention import flash, flash_triton
from lib.attention.flash_triton import backward as backward_kernels
from lib.attention.flash_triton import forward, parts
from lib.attention.flash_triton.tiles import Tile
from lib.attention.pattern import Pattern
from lib.attention.traffic import count
from tests.attention.flash.cases import ALONE, DTYPES, PAIRS, assert_precise, draw, reference

SMALL = Tile(16, 16, 4, 1)
pytestmark = pytest.mark.usefixtures("poisoned")


def run(case, tile=SMALL, **change):
    y, lse = flash.forward(case.q, case.k, case.v, case.pattern, **case.options)
    found = case.call_backward(flash_triton, **{"y": y, "lse": lse, "tile": tile, **change})
    assert all(found[f"d{n}"].dtype == case.q.dtype for n in "qkv")
    return found


@pytest.mark.parametrize("features, dtype", [(one, DTYPES[i % 3]) for i, one in enumerate(ALONE)], ids=str)
def test_every_feature_alone(features, dtype, rng):
    case = draw(rng, features, dtype)
    assert_precise(case, run(case), reference(case))


@pytest.mark.parametrize("features, dtype", [(pair, DTYPES[i % 3]) for i, pair in enumerate(PAIRS)], ids=str)
def test_every_pair_of_features(features, dtype, rng):
    """Queries and keys in tiles of different sizes, the larger now here and now there."""
    case = draw(rng, features, dtype, T=int(rng.integers(17, 33)), S=int(rng.integers(17, 33)))
    tile = Tile(32, 16, 4, 1) if rng.integers(2) else Tile(16, 32, 4, 1)
    assert_precise(case, run(case, tile), reference(case))


@pytest.mark.parametrize("D, dtype", [(D, DTYPES[i % 3]) for i, D in enumerate((16, 24, 40, 64, 80, 128, 256))])
def test_widths_of_a_head(D, dtype, rng):
    case = draw(rng, ("causal",), dtype, T=20, S=19, D=D, Dv=D, heads=(1, 1))
    assert_precise(case, run(case), reference(case))


@pytest.mark.parametrize("T, S", [(1, 1), (1, 65), (65, 1), (63, 17), (16, 32)])
@pytest.mark.parametrize("tile", [SMALL, Tile(64, 16, 4, 1)], ids=str)
def test_lengths_that_fit_no_tile(T, S, tile, rng):
    case = draw(rng, ("causal", "shift"), torch.float32, T=T, S=S, heads=(1, 1))
    assert_precise(case, run(case, tile), reference(case))


def test_without_a_gradient_of_lse(rng):
    case = draw(rng, ("causal", "sinks"), torch.float32, T=20, S=20)
    expected = reference(replace(case, dlse=torch.zeros_like(case.dlse)))
    assert_precise(replace(case, dlse=torch.zeros_like(case.dlse)), run(case, dlse=None), expected)


def test_from_the_forward_kernel(rng):
    """y and lse of the forward kernel are what the backward kernels expect, in particular the base of lse."""
    case = draw(rng, ("causal", "cap", "sinks", "dropout", "groups"), torch.float32, T=20, S=20)
    assert_precise(case, case.call(flash_triton, tile=SMALL), reference(case))


@pytest.mark.parametrize("layout", ["B T H D", "D innermost but sliced", "shared by all heads"])
def test_strides(layout, rng):
    case = draw(rng, ("causal",), torch.float32, B=2, T=20, S=18, D=16, Dv=16)

    def laid_out(x):
        if layout == "B T H D":
            return x.transpose(1, 2).contiguous().transpose(1, 2)
        if layout == "D innermost but sliced":
            return torch.cat((x, x), -1)[..., 16:]
        return x[:, :1].expand_as(x)

    names = ("q", "k", "v", "dy")
    moved = replace(case, **{n: laid_out(getattr(case, n)) for n in names}, dlse=case.dlse.mT.contiguous().mT)
    plain = replace(moved, **{n: getattr(moved, n).contiguous() for n in (*names, "dlse")})
    y, lse = flash.forward(plain.q, plain.k, plain.v, plain.pattern, **plain.options)
    expected = run(plain)
    y, lse = y.mT.contiguous().mT, lse.mT.contiguous().mT  # unlike dy
    for name, x in run(moved, y=y, lse=lse).items():
        assert torch.equal(x, expected[name]), name


def test_places_beyond_two_to_the_31(rng):
    case = draw(rng, (), torch.float16, B=3, T=3, S=3, D=16, Dv=16)
    far = torch.empty_strided((3, 2, 3, 16), (2**30, 48, 16, 1), dtype=torch.float16)
    far.copy_(case.dy)
    expected = run(case)
    for name, x in run(replace(case, dy=far)).items():
        assert torch.equal(x, expected[name]), name


def test_twice_the_same_bit_for_bit(rng):
    """Nothing is added up by whoever comes first: on a GPU atomics would show here, without one in the text."""
    case = draw(rng, ("causal", "groups", "dropout", "sinks"), torch.float16, T=20, S=20)
    once, again = run(case), run(case)
    assert all(torch.equal(x, again[name]) for name, x in once.items())
    assert "atomic" not in inspect.getsource(inspect.getmodule(backward_kernels)) + inspect.getsource(parts)


def test_queries_that_see_nothing(rng):
    """Zeros, also where dlse is not a number, as the gradient of the logarithm of nothing may be."""
    case = draw(rng, ("sinks",), torch.float32, B=2, T=20, S=20)
    case.options["sinks"] = None
    pattern = Pattern(lengths=torch.tensor([0, 20]).int(), right=0, shift=-5)
    case.dlse[0] = case.dlse[1, :, :5] = torch.nan
    found = run(replace(case, pattern=pattern))
    assert all((found[name][0] == 0).all() for name in ("dq", "dk", "dv"))
    assert (found["dq"][1, :, :5] == 0).all() and (found["dq"][1, :, 6:] != 0).all()  # query 5 sees one key: no choice
    assert (found["dk"][1, :, 15:] == 0).all() and (found["dv"][1, :, 15:] == 0).all()
    assert (found["dv"][1, :, :15] != 0).all() and found["dk"].isfinite().all()


def test_a_query_that_sees_nothing_among_others_that_do(rng):
    """Strictly earlier keys of the own document: the first query of each has none, in the middle of a tile."""
    case = draw(rng, ("documents",), torch.float32, T=20)
    case = replace(case, pattern=replace(case.pattern, right=-1))
    expected = reference(case)
    case.dlse[expected["lse"] == -torch.inf] = torch.nan
    found = run(case)
    case.dlse[expected["lse"] == -torch.inf] = 0  # for the naive computation
    assert_precise(case, found, expected)


def test_dropout_is_that_of_the_forward(rng):
    """Alike scores; dy, v and k chosen so that dv, then dq and dk, are tables that are 0 where a weight was dropped."""
    n, p, seed = 40, 0.4, int(rng.integers(2**62))
    eye, alike = torch.eye(n).expand(1, 2, n, n), torch.full((1, 2, n, n), 1e-30)
    kept = flash.kept(seed, p, torch.arange(2).view(1, 2, 1, 1), torch.arange(n)[:, None], torch.arange(n))
    lse, y = torch.full((1, 2, n), float(n)).log(), torch.zeros(1, 2, n, n)
    options = {"scale": 1.0, "p_dropout": p, "seed": seed, "tile": SMALL}

    def backward(dy, q, k, v):
        return flash_triton.backward(dy, q, k, v, y[..., : v.shape[3]], lse, Pattern(), **options)

    y_forward, _ = forward(alike, alike, eye, Pattern(), **options)
    assert torch.equal(y_forward != 0, kept)
    assert torch.equal(backward(eye, alike, alike, eye)[2] != 0, kept.mT)  # dv = w^T dy
    ones = torch.ones(1, 2, n, 1)
    assert torch.equal(backward(ones, alike * 0, eye, ones)[0] != 0, kept)  # dq = dx k, and dp = 1 where it is kept
    assert torch.equal(backward(ones, eye, alike * 0, ones)[1] != 0, kept.mT)  # dk = dx^T q


@pytest.mark.filterwarnings("ignore:All-NaN slice", "ignore:invalid value")  # NumPy, where the NaN is read
@pytest.mark.parametrize(
    "pattern, unread, dq_clean, dkdv_clean",
    [  # NaN in these keys and values leaves dq clean there; NaN in these queries and dy leaves dk and dv clean there
        (Pattern(right=0), slice(40, 64), slice(0, 32), slice(64, 64)),
        (Pattern(right=0), slice(0, 20), slice(0, 0), slice(32, 64)),
        (Pattern(left=7, right=0), slice(0, 25), slice(32, 64), slice(32, 64)),
        (Pattern(documents=torch.tensor([[0] * 20 + [1] * 44]).int()), slice(0, 20), slice(32, 64), slice(32, 64)),
        (Pattern(documents=torch.tensor([[0] * 33 + [1] * 31]).int()), slice(33, 64), slice(0, 32), slice(0, 32)),
        (Pattern(lengths=torch.tensor([21]).int()), slice(21, 64), slice(0, 64), slice(32, 64)),
    ],
    ids=["causal, keys ahead", "causal, queries behind", "window", "document after", "document before", "lengths"],
)
def test_what_no_pair_of_a_tile_needs_is_not_read(pattern, unread, dq_clean, dkdv_clean, rng):
    case = replace(draw(rng, (), torch.float32, T=64, S=64, heads=(1, 1)), pattern=pattern)
    y, lse = flash.forward(case.q, case.k, case.v, case.pattern, **case.options)

    def with_nan(*names):
        moved = replace(case, **{name: getattr(case, name).clone() for name in names})
        for name in names:
            getattr(moved, name)[:, :, unread] = torch.nan
        return run(moved, y=y, lse=lse)

    assert with_nan("k", "v")["dq"][:, :, dq_clean].isfinite().all()
    found = with_nan("q", "dy")
    assert found["dk"][:, :, dkdv_clean].isfinite().all() and found["dv"][:, :, dkdv_clean].isfinite().all()


def test_tiles_of_keys_beyond_the_length_cost_nothing(rng):
    """Four times as many keys, none of them within the length: as many bytes loaded, but for the length itself."""
    if not knobs.runtime.interpret:
        pytest.skip(
            "loads are counted in Triton's interpreter: there is a CUDA device, and TRITON_INTERPRET is not set"
        )
    loaded = []
    for S in (16, 64):
        case = draw(rng, (), torch.float32, T=20, S=S, D=16, Dv=16, heads=(1, 1))
        with count() as traffic:
            run(replace(case, pattern=Pattern(lengths=torch.tensor([16]).int())))
        loaded.append(traffic.loaded)
    assert loaded[1] - loaded[0] == 3 * 4  # three more programs read the length, in four bytes


def test_keys_beyond_the_length_are_not_read(rng):
    case = replace(draw(rng, (), torch.float32, T=20, S=40), pattern=Pattern(lengths=torch.tensor([21]).int()))
    expected = run(case)
    case.k[:, :, 21:] = case.v[:, :, 21:] = torch.nan
    for name, x in run(case).items():
        assert torch.equal(x, expected[name]), name
