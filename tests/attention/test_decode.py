"""What random calls on a cache (`verified.py`) do not reach: room, blocks, gradients, bad input."""

import pytest
import torch

from lib.attention.core import Attention
from lib.attention.decode import Cache, PagedCache, SlidingCache
from lib.attention.masks import and_masks, causal, sliding_window

LAYER = Attention(8, 2, mask=causal).requires_grad_(False)
WINDOW = Attention(8, 2, mask=and_masks(causal, sliding_window(3))).requires_grad_(False)
TOKENS = torch.randn(2, 9, 8, generator=torch.Generator().manual_seed(0))


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("first", range(1, 9))
@pytest.mark.parametrize(
    "make", [lambda: Cache(2, 2, 9, 4), lambda: PagedCache(2, 2, 10, 2, 4)], ids=["plain", "paged"]
)
def test_prefill_then_steps(first, make):
    """A prompt of any length at once, then token after token: as all at once."""
    cache = make()
    parts = [LAYER(TOKENS[:, :first], cache=cache)]
    parts += [LAYER(TOKENS[:, t : t + 1], cache=cache) for t in range(first, 9)]
    close(torch.cat(parts, dim=1), LAYER(TOKENS))


@pytest.mark.parametrize("step", [1, 2, 3, 4, 9])
def test_a_window_slides_over_its_edges(step):
    """Steps shorter than the window, as long, and longer; the cache never grows beyond it.

    Of tokens that share a slot one alone is written: which of two would stay is undefined on a GPU.
    """

    class Watched(SlidingCache):
        def _write(self, b, at, k, v):
            slots = list(zip(b.tolist(), (at % self.size).tolist(), strict=True))
            assert len(set(slots)) == len(slots)
            super()._write(b, at, k, v)

    cache = Watched(2, 2, 3, 4)
    y = torch.cat([WINDOW(TOKENS[:, t : t + step], cache=cache) for t in range(0, 9, step)], dim=1)
    close(y, WINDOW(TOKENS))
    assert cache.k.shape == (2, 2, 3, 4)


def test_ragged_prompts_then_steps():
    """Each row goes on where it ended, not where the longest did; outputs of the padding are not looked at."""
    cache, lengths = Cache(2, 2, 9, 4), [2, 5]
    LAYER(TOKENS[:, :5], cache=cache, lengths=lengths)
    y = LAYER(torch.stack([TOKENS[b, n : n + 1] for b, n in enumerate(lengths)]), cache=cache)
    for b, n in enumerate(lengths):
        close(y[b, 0], LAYER(TOKENS[b : b + 1, : n + 1])[0, n])


@pytest.mark.parametrize(
    "make", [lambda: Cache(2, 2, 9, 4), lambda: PagedCache(2, 2, 10, 2, 4)], ids=["plain", "paged"]
)
def test_a_broken_row_breaks_no_other(make):
    """A row full of NaN stays alone with it, and is well again after a reset."""
    cache, x = make(), TOKENS.clone()
    x[0, :4] = torch.nan
    y = torch.cat([LAYER(x[:, :4], cache=cache, lengths=[4, 1]), LAYER(x[:, 1:2], cache=cache)], dim=1)
    assert y[0].isnan().all()
    close(y[1, -1:], LAYER(TOKENS[1:, :2])[0, -1:])
    cache.reset(torch.tensor([0]))
    close(LAYER(TOKENS[:, 2:3], cache=cache)[0], LAYER(TOKENS[:1, 2:3])[0])


def test_reset_of_all_rows():
    cache = Cache(2, 2, 9, 4)
    LAYER(TOKENS, cache=cache)
    cache.reset()
    close(LAYER(TOKENS, cache=cache), LAYER(TOKENS))


def test_a_full_cache_says_so_and_stays_as_it_was():
    cache = Cache(2, 2, 5, 4)
    LAYER(TOKENS[:, :4], cache=cache)
    with pytest.raises(ValueError, match="would hold 6 positions, but this cache has room for 5"):
        LAYER(TOKENS[:, 4:6], cache=cache)
    close(LAYER(TOKENS[:, 4:5], cache=cache), LAYER(TOKENS)[:, 4:5])


def test_blocks_are_taken_as_rows_grow_shared_and_given_back():
    cache = PagedCache(2, 2, 6, 2, 4)

    def taken() -> int:
        return len(cache.blocks[cache.blocks >= 0].unique())

    LAYER(TOKENS[:, :3], cache=cache, lengths=[3, 0])
    assert taken() == 2  # three tokens in blocks of two; a row without tokens takes none
    cache.reorder(torch.tensor([0, 0]))
    assert taken() == 2  # the same past, stored once
    fork = torch.stack((TOKENS[0, 3:4], TOKENS[1, 3:4]))
    y = LAYER(fork, cache=cache)
    assert taken() == 3  # the half-full block was copied for one of them, the full one is still shared
    y = torch.cat((y, LAYER(TOKENS[:, 4:5], cache=cache)), dim=1)  # what was copied is read again
    for b in range(2):
        close(y[b], LAYER(torch.cat((TOKENS[:1, :3], fork[b : b + 1], TOKENS[b : b + 1, 4:5]), dim=1))[0, 3:])
    assert taken() == 5
    cache.reset(torch.tensor([1]))
    assert taken() == 3


def test_an_empty_pool_says_so_and_the_cache_stays_as_it_was():
    cache = PagedCache(2, 2, 4, 2, 4)
    LAYER(TOKENS[:, :4], cache=cache)
    with pytest.raises(ValueError, match="all 4 blocks of 2 positions are in use: reset rows that are done"):
        LAYER(TOKENS[:, 4:5], cache=cache)
    cache.reset(torch.tensor([1]))
    close(LAYER(TOKENS[:, 4:6], cache=cache, lengths=[2, 0])[0], LAYER(TOKENS)[0, 4:6])


def test_no_gradient_is_lost_in_silence():
    layer, x = Attention(8, 2, mask=causal), TOKENS
    with pytest.raises(ValueError, match=r"a cache keeps no gradients: call the layer under torch.no_grad\(\)"):
        layer(x, cache=Cache(2, 2, 9, 4))
    with torch.no_grad():
        close(layer(x, cache=Cache(2, 2, 9, 4)), layer(x))


def cache() -> Cache:
    return Cache(2, 2, 9, 4)


BAD = {
    "this cache has 2 rows, but 1 sequences want to go on": lambda: LAYER(TOKENS[:1], cache=cache()),
    "there is no new token: x is empty": lambda: LAYER(TOKENS[:, :0], cache=cache()),
    "lengths must be 2 whole numbers.*shape (1,)": lambda: LAYER(TOKENS, cache=cache(), lengths=[3]),
    "lengths must be 2 whole numbers.*torch.float32": lambda: LAYER(TOKENS, cache=cache(), lengths=[3.0, 1.0]),
    "lengths are from 0 to 9.*[10, 1]": lambda: LAYER(TOKENS, cache=cache(), lengths=[10, 1]),
    "lengths are from 0 to 9.*[-1, 1]": lambda: LAYER(TOKENS, cache=cache(), lengths=[-1, 1]),
    "takes k and v of shape (2, 1, 9, 4), got k (2, 2, 9, 4)": lambda: LAYER(TOKENS, cache=Cache(2, 1, 9, 4)),
    "takes k and v of shape (2, 2, 9, 5), got k (2, 2, 9, 4)": lambda: LAYER(TOKENS, cache=Cache(2, 2, 9, 5)),
    "dtype of keys is torch.float32.*torch.float64": lambda: LAYER(TOKENS, cache=Cache(2, 2, 9, 4, torch.float64)),
    "device of keys is meta.*device=cpu": lambda: cache().extend(
        *[torch.zeros(2, 2, 1, 4, device="meta")] * 2, torch.zeros(2, 1, dtype=torch.long)
    ),
    "a cache is for self-attention": lambda: LAYER(TOKENS, TOKENS, cache=cache()),
    "sizes of a cache are at least 1.*size=0": lambda: Cache(2, 2, 0, 4),
    "sizes are at least 1.*block=0": lambda: PagedCache(2, 2, 3, 0, 4),
    "rows are whole numbers from 0 to 1.*[0, 2]": lambda: cache().reorder(torch.tensor([0, 2])),
    "rows are whole numbers from 0 to 1.*[-1]": lambda: cache().reset(torch.tensor([-1])),
    "rows are whole numbers from 0 to 1.*[True, False]": lambda: cache().reset(torch.tensor([True, False])),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_said(message):
    with pytest.raises(ValueError) as error:
        BAD[message]()
    assert all(piece in str(error.value) for piece in message.split(".*")), str(error.value)
