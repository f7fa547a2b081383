"""What is claimed of `lib.zoo.distilbert`. Random sizes and numbers, the same in every run."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.zoo.family import claims


def config(rng: np.random.Generator) -> dict[str, Any]:
    n_heads, width, n_layers, d_ff, n_vocab = rng.integers([1, 1, 1, 1, 3], [4, 4, 4, 9, 12]).tolist()
    return {
        "vocab_size": n_vocab, "dim": n_heads * width, "n_layers": n_layers, "n_heads": n_heads, "hidden_dim": d_ff,
        "max_position_embeddings": 9, "activation": str(rng.choice(["gelu", "relu"])),
        "num_labels": int(rng.integers(2, 5)),
    }  # fmt: skip


HEADS = (
    "DistilBertModel", "DistilBertForMaskedLM", "DistilBertForSequenceClassification",
    "DistilBertForTokenClassification", "DistilBertForQuestionAnswering",
)  # fmt: skip
CLAIMS = claims("distilbert", config, HEADS)
