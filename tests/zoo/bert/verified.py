"""What is claimed of `lib.zoo.bert`. Random sizes and numbers, the same in every run."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.zoo.family import claims


def config(rng: np.random.Generator) -> dict[str, Any]:
    n_heads, width, n_layers, d_ff, n_vocab, n_types = rng.integers([1, 1, 1, 1, 3, 1], [4, 4, 4, 9, 12, 4]).tolist()
    return {
        "vocab_size": n_vocab, "hidden_size": n_heads * width, "num_hidden_layers": n_layers,
        "num_attention_heads": n_heads, "intermediate_size": d_ff, "max_position_embeddings": 9,
        "type_vocab_size": n_types, "layer_norm_eps": float(rng.choice([1e-12, 0.1])),
        "hidden_act": str(rng.choice(["gelu", "relu"])), "num_labels": int(rng.integers(2, 5)),
    }  # fmt: skip


HEADS = (
    "BertModel", "BertForPreTraining", "BertForMaskedLM", "BertForNextSentencePrediction",
    "BertForSequenceClassification", "BertForTokenClassification", "BertForQuestionAnswering",
)  # fmt: skip
CLAIMS = claims("bert", config, HEADS)
