"""The claims of docs/verified.md about lib.tokens hold."""

import pytest

from tests.tokens.verified import CLAIMS


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_claim(claim):
    assert claim.measure() <= claim.tolerance
