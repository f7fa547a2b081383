"""The decoding kernels in Triton's interpreter, against the reference in float64."""

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed: there is none for this system")

from lib.attention.core import attend
from lib.attention.decode import Cache, PagedCache
from lib.attention.flash_triton.decode import decode
from lib.attention.scores import Compose, soft_cap

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
FEATURES = ["left", "cap", "slopes", "sinks", "paged"]


class Call:
    """Random caches of random sizes. Slots that no row uses hold NaN."""

    def __init__(self, seed: int, dtype: torch.dtype, features: tuple[str, ...] = (), d_head: int | None = None):
        rng = np.random.default_rng(seed)
        B, G, share, T = rng.integers(1, [5, 4, 5, 4]).tolist()
        H, S, D = G * share, int(rng.integers(5, 200)), d_head or int(rng.integers(1, 80))
        self.lengths = torch.from_numpy(rng.integers(0, S + 1, B))
        self.lengths[rng.integers(B)] = S
        self.q, self.k, self.v = (normal(rng, B, n, m, D).to(dtype) for n, m in ((H, T), (G, S), (G, S)))
        for b, n in enumerate(self.lengths.tolist()):
            self.k[b, :, n:] = self.v[b, :, n:] = torch.nan
        self.more = {"n_splits": int(rng.integers(1, 6))}
        if "left" in features:
            self.more["left"] = int(rng.integers(0, S))
            for b, n in enumerate(self.lengths.tolist()):  # a window may leave room at the front, which others then use
                self.k[b, :, : max(0, n - T - self.more["left"])] = torch.nan
        if "cap" in features:
            self.more["cap"] = float(rng.uniform(1, 5))
        if "slopes" in features:
            self.more["slopes"] = normal(rng, H).abs().float()
        if "sinks" in features:
            self.more["sinks"] = normal(rng, H).float()
        self.paged = paged(rng, self.k, self.v, self.lengths) if "paged" in features else None

    def run(self):
        k, v, blocks = self.paged or (self.k, self.v, None)
        return decode(self.q, k, v, self.lengths, blocks=blocks, **self.more)

    def reference(self, dtype: torch.dtype):
        """`attend` on the numbers of the call, computed in that dtype; a query of a row stands where it ends."""
        T, n = self.q.shape[2], self.lengths
        left, cap, slopes, sinks = (self.more.get(name) for name in ("left", "cap", "slopes", "sinks"))

        def mask(b, h, q, k):
            at = n[b] - T + q
            return (k <= at) & (at - k <= (10**9 if left is None else left))

        def alibi(s, b, h, q, k):
            return s if slopes is None else s - slopes.to(s.dtype)[h] * (n[b] - T + q - k).abs()

        score = Compose(*([soft_cap(cap)] if cap else []), alibi)
        q, k, v = (x.nan_to_num().to(dtype) for x in (self.q, self.k, self.v))
        return attend(q, k, v, mask, score, sinks=None if sinks is None else sinks.to(dtype))

    def check(self):
        """At most twice the error of the naive computation in the same precision."""
        y, lse = self.run()
        exact = self.reference(torch.float64)
        naive = (self.reference(self.q.dtype).double() - exact).abs().max()
        assert (y.double() - exact).abs().max() <= 2 * naive + torch.finfo(
            torch.float32
        ).eps  # one rounding of the sums, which are in float32
        nothing = self.lengths.view(-1, 1, 1) - self.q.shape[2] + torch.arange(self.q.shape[2]) < 0
        assert torch.isfinite(y).all() and (y[nothing.expand(lse.shape)] == 0).all()


def normal(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape))


def paged(rng, k, v, lengths):
    """The same rows in blocks of a pool, dealt out at random; slots that no row uses hold NaN."""
    (B, G, S), block = k.shape[:3], int(rng.integers(1, 20))
    n = -(-S // block)
    pools = [torch.full((B * n + 2, G, block, x.shape[3]), torch.nan, dtype=x.dtype) for x in (k, v)]
    blocks = torch.full((B, n), -1)
    free = rng.permutation(B * n + 2).tolist()
    for b in range(B):
        for i in range(-(-int(lengths[b]) // block)):
            blocks[b, i] = free.pop()
            for pool, x in zip(pools, (k, v), strict=True):
                stretch = x[b, :, i * block : (i + 1) * block]
                pool[blocks[b, i], :, : stretch.shape[1]] = stretch
    return *pools, blocks


@pytest.fixture(autouse=True)
def poisoned():
    """Whatever a kernel does not write is NaN: that is what torch.empty gives in this mode."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(1).isnan() and torch.ones(1).new_empty(1).isnan()
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("features", [(), *((name,) for name in FEATURES), tuple(FEATURES)], ids="+".join)
def test_each_feature(features, dtype):
    """Ragged lengths, empty rows, one to three queries, any head width: against float64, with each feature."""
    for seed in range(3):
        Call(seed, dtype, features).check()


@pytest.mark.parametrize("d_head", [1, 16, 24, 40, 128, 256])
def test_head_widths(d_head):
    Call(d_head, torch.float16, ("paged",), d_head).check()


def test_nothing_to_attend_to():
    """A row of length 0, and queries that stand before the first position: zeros, and an lse of -inf or the sink."""
    q, k = torch.randn(2, 2, 3, 8), torch.full((2, 1, 4, 8), torch.nan)
    k[1, :, 0] = 1
    y, lse = decode(q, k, k, torch.tensor([0, 1]))
    assert (y[0] == 0).all() and (y[1, :, :2] == 0).all() and torch.allclose(y[1, :, 2], torch.ones(()))
    assert lse.isneginf().tolist() == [[[True] * 3] * 2, [[True, True, False]] * 2]
    sinks = torch.tensor([0.5, -0.5])
    assert torch.allclose(decode(q, k, k, torch.tensor([0, 1]), sinks=sinks)[1][0], sinks[:, None].expand(2, 3))


def test_lse_is_the_logarithm_of_the_denominator():
    call = Call(5, torch.float32, ("sinks", "left"))
    q, k, n, left = call.q.double(), call.k.nan_to_num().double(), call.lengths, call.more["left"]
    B, H, T, D = q.shape
    s = q @ k.repeat_interleave(H // k.shape[1], 1).mT / D**0.5
    away = (n[:, None] - T + torch.arange(T))[:, None, :, None] - torch.arange(k.shape[2])
    s = s.masked_fill((away < 0) | (away > left), -torch.inf)
    exact = torch.cat((s, call.more["sinks"].double().view(1, H, 1, 1).expand(B, H, T, 1)), -1).logsumexp(-1)
    torch.testing.assert_close(call.run()[1].double(), exact, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "make", [lambda: Cache(2, 2, 24, 8), lambda: PagedCache(2, 2, 7, 5, 8)], ids=["plain", "paged"]
)
def test_it_reads_a_cache_as_it_is(make):
    """A ragged prompt, steps, a reordering, a reset: after each, as `attend` on what the cache gives back."""
    rng, cache = np.random.default_rng(0), make()
    cache.k.fill_(torch.nan), cache.v.fill_(torch.nan)
    for lengths in ([4, 9], [1, 1], "reorder", [1, 1], "reset", [0, 1], [1, 1]):
        if lengths == "reorder":
            cache.reorder(torch.tensor([1, 0]))
        elif lengths == "reset":
            cache.reset(torch.tensor([1]))
        else:
            at = cache.next_positions(2, max(lengths), lengths)
            k, v, k_at = cache.extend(*(normal(rng, 2, 2, max(lengths), 8).float() for _ in range(2)), at)
            q = normal(rng, 2, 4, 1, 8).float()
            y, _ = decode(q, cache.k, cache.v, cache.n, blocks=getattr(cache, "blocks", None), n_splits=2)
            exact = attend(
                q.double(), k.nan_to_num().double(), v.double(), lambda b, h, q, k, k_at=k_at: k_at[b, k] >= 0
            )
            torch.testing.assert_close(y.double(), exact, rtol=0, atol=1e-6)


def test_weights_are_rounded_and_not_cut():
    """The mean of ones is 1, also where the weights are bfloat16: cut off, each would lose up to a 128th."""
    k = normal(np.random.default_rng(0), 1, 1, 300, 16).bfloat16()
    y, _ = decode(k[:, :, :1], k, torch.ones_like(k), torch.tensor([300]))
    assert (y == 1).all()


def test_any_strides():
    """Heads as a projection leaves them, B T H D, are read in place."""
    q, k = torch.randn(2, 1, 4, 8).transpose(1, 2), torch.randn(2, 9, 2, 8).transpose(1, 2)
    n = torch.tensor([9, 4])
    assert torch.equal(decode(q, k, k, n)[0], decode(q.contiguous(), k.contiguous(), k.contiguous(), n)[0])


def test_a_key_without_a_block_is_left_out():
    """A table with a hole, and a length beyond the cache, read nothing that is not there."""
    q, pool = torch.randn(1, 1, 1, 8), torch.randn(2, 1, 4, 8)
    y, _ = decode(q, pool, pool, torch.tensor([99]), blocks=torch.tensor([[1, -1, 0]]))
    held = torch.cat((pool[1:], pool[:1]), dim=2)
    torch.testing.assert_close(y, attend(q, held, held))


q, k, n = torch.zeros(2, 4, 1, 8), torch.zeros(2, 2, 6, 8), torch.tensor([1, 2])
WRONG = [
    (dict(k=k[0]), "4 axes"),
    (dict(k=k[..., :4]), "equally wide"),
    (dict(k=k.half()), "dtypes differ"),
    (dict(q=q.double(), k=k.double(), v=k.double()), "float64"),
    (dict(q=q[:, :3]), "multiple"),
    (dict(k=k[:1], v=k[:1]), "same number of sequences"),
    (dict(q=q.repeat(1, 1, 65, 1)), "130 queries"),
    (dict(lengths=n.float()), "lengths must be whole"),
    (dict(lengths=n[:1]), "lengths must be whole"),
    (dict(slopes=torch.ones(3)), "slopes must be"),
    (dict(sinks=torch.ones(3)), "sinks are 4"),
    (dict(cap=0.0), "positive"),
    (dict(blocks=torch.zeros(1, 3, dtype=torch.int32)), "each of 2 sequences"),
    (dict(blocks=torch.zeros(2, 3)), "whole numbers"),
    (dict(blocks=torch.zeros(2, 3, dtype=torch.int32), v=k[:1]), "as many blocks"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[message for _, message in WRONG])
def test_bad_input(changes, message):
    with pytest.raises(ValueError, match=message):
        decode(**(dict(q=q, k=k, v=k, lengths=n) | changes))
