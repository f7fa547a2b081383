"""A catalogue entry with small real files, in folders of the test's own: nothing of the user's is read or written."""

import pytest
import tiny_data

from lib.data import CATALOG, sources


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """Empty shipped folder and cache, no mirror."""
    monkeypatch.setattr(sources, "ROOT", tmp_path / "repository")
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("COURSE_DATA", raising=False)


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A mirror that holds `course/tiny`, which is declared in the catalogue."""
    folder = tmp_path / "mirror"
    monkeypatch.setitem(CATALOG, tiny_data.NAME, tiny_data.make(folder))
    monkeypatch.setenv("COURSE_DATA", str(folder))
    return folder
