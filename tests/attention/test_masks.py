"""Masks as pictures, x where a query (row) may attend to a key (column); what they refuse."""

import numpy as np
import pytest
import torch
from torch.nn.attention.flex_attention import create_mask

from lib.attention import masks
from lib.attention.masks import and_masks, causal, dense, or_masks
from tests.attention.twins import all_masks

IDS = torch.tensor([[0, 0, 1, 1, 1]])
MARKS = torch.tensor([[True, False, False, False, False]])
LAYOUT = torch.tensor([[[1, 0, 1], [0, 1, 0], [1, 1, 0]]]).bool()
AT = torch.tensor([[-1, 2, 0, 1]])

PICTURES = {
    "full": (masks.full, "xxx xxx"),
    "causal": (causal, "x... xx.. xxx. xxxx"),
    "causal, more keys than queries": (causal, "x... xx.."),
    "window of one": (masks.sliding_window(1), "x.. .x. ..x"),
    "window of two": (masks.sliding_window(2), "xx... xxx.. .xxx. ..xxx ...xx"),
    "causal window": (and_masks(causal, masks.sliding_window(2)), "x... xx.. .xx. ..xx"),
    "dilated": (masks.dilated(2), "x.x.x .x.x. x.x.x .x.x. x.x.x"),
    "dilated by three": (and_masks(causal, masks.dilated(3)), "x.... .x... ..x.. x..x. .x..x"),
    "padding": (masks.padding([2]), "xx.. xx.. xx.. xx.."),
    "padding, nothing left": (masks.padding([0]), ".. .."),
    "prefix": (masks.prefix([2]), "xx.. xx.. xxx. xxxx"),
    "documents": (masks.documents(IDS), "xx... xx... ..xxx ..xxx ..xxx"),
    "causal documents": (and_masks(causal, masks.documents(IDS)), "x.... xx... ..x.. ..xx. ..xxx"),
    "global": (masks.global_tokens(MARKS), "xxxxx x.... x.... x.... x...."),
    "global and local": (
        or_masks(masks.sliding_window(1), masks.global_tokens(MARKS)),
        "xxxxx xx... x.x.. x..x. x...x",
    ),
    "block sparse": (masks.block_sparse(LAYOUT, 2), "xx..x xx..x ..xx. ..xx. xxxx."),
    "not": (masks.not_mask(causal), ".xxx ..xx ...x ...."),
    "and of none": (and_masks(), "xx xx"),
    "or of none": (or_masks(), ".. .."),
    "moved": (masks.moved(causal, AT, AT), ".... .xxx ..x. ..xx"),
}


def drawn(table: torch.Tensor) -> str:
    return " ".join("".join("x" if allowed else "." for allowed in row) for row in table)


@pytest.mark.parametrize("name", PICTURES)
def test_picture(name):
    mask, picture = PICTURES[name]
    rows = picture.split()
    assert drawn(dense(mask, 1, 1, len(rows), len(rows[0]))[0, 0]) == picture


def test_each_sequence_and_each_head_has_its_own():
    lengths = torch.tensor([1, 3])
    assert torch.equal(dense(masks.padding(lengths), 2, 3, 4, 5).sum(-1), lengths[:, None, None].expand(2, 3, 4))
    two = torch.tensor([[0, 0, 1], [0, 1, 1]])
    for mask, pictures in (
        (masks.documents(two), ["xx. xx. ..x", "x.. .xx .xx"]),
        (masks.global_tokens(two > 0), ["..x ..x xxx", ".xx xxx xxx"]),
        (masks.moved(causal, two, two), ["xx. xx. xxx", "x.. xxx xxx"]),
    ):
        assert [drawn(table[0]) for table in dense(mask, 2, 1, 3, 3)] == pictures
    layout = torch.eye(2, dtype=torch.bool).expand(2, 2, 2).clone()
    layout[1] = True
    by_head = dense(masks.block_sparse(layout, 3), 1, 4, 6, 6).sum((0, 2, 3))
    assert by_head.tolist() == [18, 36, 18, 36]  # head h takes layout h modulo 2


@pytest.mark.parametrize("name", all_masks(np.random.default_rng(0), 1, 1, 1))
def test_the_table_is_the_one_that_flex_attention_makes(name):
    """At lengths on either side of its tile of 128."""
    for T, S in ((5, 3), (1, 7), (127, 130)):
        mask = all_masks(np.random.default_rng(T), 2, 3, max(T, S))[name]
        assert torch.equal(dense(mask, 2, 3, T, S), create_mask(mask, 2, 3, T, S, device="cpu"))


BAD = {
    "the own position: at least 1, not 0": lambda: masks.sliding_window(0),
    "step of a dilated mask is at least 1, not 0": lambda: masks.dilated(0),
    "a block holds at least 1 position, not 0": lambda: masks.block_sparse(LAYOUT, 0),
    "lengths (B,) must be whole numbers with 1 axes, not torch.float32": lambda: masks.padding([1.5]),
    "lengths (B,) must be whole numbers with 1 axes, not torch.bool": lambda: masks.padding([True]),
    "a length is 0 or more; got [2, -1]": lambda: masks.prefix([2, -1]),
    "ids (B, T) must be whole numbers with 2 axes.*shape (5,)": lambda: masks.documents(IDS[0]),
    "marks (B, T) must be bools.*torch.int64": lambda: masks.global_tokens(IDS),
    "layout (n, query blocks, key blocks) must be bools with 3 axes": lambda: masks.block_sparse(LAYOUT[0], 2),
    "made for a smaller batch than 2 sequences": lambda: dense(masks.padding([3]), 2, 1, 4, 4),
    "4 queries and 9 keys": lambda: dense(masks.documents(IDS), 1, 1, 4, 9),
    "a mask returns bools.*torch.int64": lambda: dense(lambda b, h, q, k: q - k, 1, 1, 2, 2),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_said(message):
    with pytest.raises(ValueError) as error:
        BAD[message]()
    assert all(piece in str(error.value) for piece in message.split(".*")), str(error.value)


def test_a_mask_that_full_narrows_is_itself():
    """A back end knows `causal` by its name."""
    window = masks.sliding_window(2)
    assert masks.narrowed(causal, masks.full) is causal and masks.narrowed(masks.full, causal) is causal
    assert masks.narrowed(causal, window) == and_masks(causal, window)
