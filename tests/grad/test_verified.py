"""Every claim in `verified.py` holds, every operation has its claims, and the page in docs has every row."""

import subprocess
import sys

import pytest

from lib import ROOT
from lib.grad.rules import RULES
from tests.grad.table import TABLE
from tests.grad.verified import CLAIMS


def test_every_operation_is_in_the_table():
    assert set(TABLE) == set(RULES)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.name}, {claim.reference}")
def test_claim(claim):
    assert claim.measure() <= claim.tolerance


def test_the_page_has_every_row():
    command = [sys.executable, str(ROOT / "scripts" / "verify.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
