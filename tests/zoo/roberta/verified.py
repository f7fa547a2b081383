"""What is claimed of `lib.zoo.roberta`. Random sizes and numbers, the same in every run."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.zoo.bert import verified as bert
from tests.zoo.family import claims


def config(rng: np.random.Generator) -> dict[str, Any]:
    return bert.config(rng) | {"pad_token_id": 1, "max_position_embeddings": 11, "hidden_act": "gelu"}


HEADS = (
    "RobertaModel", "RobertaForMaskedLM", "RobertaForSequenceClassification", "RobertaForTokenClassification",
    "RobertaForQuestionAnswering",
)  # fmt: skip
CLAIMS = claims("roberta", config, HEADS)
