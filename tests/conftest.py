import pytest

from lib.checks import core


@pytest.fixture(autouse=True)
def course_home(tmp_path, monkeypatch):
    """Progress and caches go to a folder of the test's own, and no hint has been seen."""
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(core, "_hints_seen", {})
    return tmp_path / "home"
