import sys

import pytest

from lib import ROOT

sys.path.insert(0, str(ROOT / "scripts"))


@pytest.fixture(autouse=True)
def course_home(tmp_path, monkeypatch):
    """Progress goes to a folder of the test's own, and no hint has been seen."""
    from lib.checks import core

    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(core, "_hints_seen", {})
    return tmp_path / "home"
