"""The view of attention weights holds the right numbers, works offline, and is the same in every run."""

import json
import re

import pytest
import torch

from lib.widgets import attention_view

KEYS = ["the", "ID", "</script>"]
WEIGHTS = torch.tensor([[1.0, 0.0, 0.0], [0.25, 0.254, 0.496], [0.0, 0.0, 0.0]])


def numbers_of(html: str) -> dict:
    found = re.search(r"const d = (\{.*?\}), box", html)
    assert found
    return json.loads(found[1])


def test_it_holds_labels_and_weights_in_per_cent():
    html = attention_view(KEYS, {"head 0": WEIGHTS, "head 1": WEIGHTS.T}).data
    numbers = numbers_of(html)
    assert numbers["weights"][0] == [[100, 0, 0], [25, 25, 50], [0, 0, 0]]
    assert torch.equal(torch.tensor(numbers["weights"][1]), torch.tensor(numbers["weights"][0]).T)
    assert numbers["keys"] == numbers["queries"] == KEYS and numbers["names"] == ["head 0", "head 1"]
    assert html.count("</script>") == 1 and html.count("<td>") == 9


def test_queries_may_be_other_words_than_keys():
    numbers = numbers_of(attention_view(KEYS, {"w": WEIGHTS[:2]}, queries=["le", "la"]).data)
    assert numbers["queries"] == ["le", "la"] and numbers["keys"] == KEYS


def test_it_needs_no_network_and_does_not_change():
    html = attention_view(KEYS, {"w": WEIGHTS}).data
    assert "http" not in html and "src=" not in html
    assert html == attention_view(KEYS, {"w": WEIGHTS.double()}).data
    name = re.compile(r'id="(look-\w+)"')
    assert name.findall(html) != name.findall(attention_view(KEYS, {"w": WEIGHTS.T}).data)


@pytest.mark.parametrize(
    ("weights", "message"),
    [({"w": WEIGHTS[:, :2]}, r"'w' has the shape \(3, 2\), not 3 queries by 3 keys"), ({}, "no table to look at")],
)
def test_tables_that_do_not_fit_are_errors(weights, message):
    with pytest.raises(ValueError, match=message):
        attention_view(KEYS, weights)
