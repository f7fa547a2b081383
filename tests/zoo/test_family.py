"""GPT, GPT-2, Llama, BERT, RoBERTa, DistilBERT: equal to transformers' in every number."""

from __future__ import annotations

import pytest

from tests.zoo.bert import verified as bert
from tests.zoo.distilbert import verified as distilbert
from tests.zoo.gpt import verified as gpt
from tests.zoo.gpt2 import verified as gpt2
from tests.zoo.llama import verified as llama
from tests.zoo.roberta import verified as roberta

CLAIMS = [claim for each in (gpt, gpt2, llama, bert, roberta, distilbert) for claim in each.CLAIMS]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.name}, {claim.reference[:60]}")
def test_claim(claim):
    assert claim.measure() <= claim.tolerance
