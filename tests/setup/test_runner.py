"""Running and measuring notebooks, and the table in README."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import nbformat
import pytest
import table

from lib import runner


def notebook(folder, name, *sources):
    made = nbformat.v4.new_notebook(metadata={"course": {"title": "A topic", "minutes": 45}})
    made.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    path = folder / name
    nbformat.write(made, path)
    return path


def test_a_run_is_timed_and_measured_and_stores_nothing(tmp_path):
    path = notebook(tmp_path, "10_topic.ipynb", "import time; x = bytearray(200 * 2**20); time.sleep(0.5)", "print(1)")
    before = path.read_bytes()
    run = runner.run(path)
    assert run.error == ""
    assert 0.5 <= run.seconds < 60
    assert 200 * 2**20 < run.peak < 2**30
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["10_topic.ipynb"]


def test_a_failing_cell_is_shown(tmp_path):
    run = runner.run(notebook(tmp_path, "10_topic.ipynb", "x = 1", "y = x / 0", "print('not reached')"))
    assert run.error == "ZeroDivisionError: division by zero\nin the cell\n    y = x / 0"


def test_memory_of_children_counts(tmp_path):
    child = "x = b'1' * (150 * 2**20); import time; time.sleep(2)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        most, until = 0, time.time() + 20
        while parent.poll() is None and time.time() < until:
            most = max(most, runner.resident(parent.pid))
            time.sleep(0.05)
    assert most > 150 * 2**20
    assert runner.resident(parent.pid) == 0


@pytest.fixture
def lessons(tmp_path):
    for name in ("00_start.ipynb", "10_topic.ipynb", "13_other.ipynb"):
        notebook(tmp_path, name)
    return tmp_path


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ([], ["00_start", "10_topic", "13_other"]),
        (["13", "10"], ["13_other", "10_topic"]),
        (["0"], ["00_start"]),
        (["10_topic"], ["10_topic"]),
    ],
)
def test_chapters_by_number(lessons, asked, found):
    assert [path.stem for path in runner.chapters(asked, lessons)] == found


@pytest.mark.parametrize(("asked", "nearest"), [("12", "13_other"), ("99", "13_other"), ("topik", "10_topic")])
def test_an_unknown_chapter_suggests_the_nearest(lessons, asked, nearest):
    with pytest.raises(runner.ChapterError, match=f"Did you mean {nearest}"):
        runner.chapters([asked], lessons)


def test_no_notebooks_is_an_error(tmp_path):
    with pytest.raises(runner.ChapterError, match="no notebooks"):
        runner.chapters([], tmp_path)


def test_the_table_is_written_between_its_markers(tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "exercises").mkdir()
    path = notebook(tmp_path / "notebooks", "10_topic.ipynb")
    notebook(tmp_path / "exercises", "10_topic.ipynb")
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- table -->old<!-- /table -->\nafter\n")
    table.write([runner.Run(path, 12.3, 321 * 2**20)], readme)
    row = "| 10 | [A topic](notebooks/10_topic.ipynb) | 45 | [exercises](exercises/10_topic.ipynb) |  | 12 s | 321 MB |"
    lines = readme.read_text("utf-8").splitlines()
    assert lines == ["before", "<!-- table -->", *table.HEAD, row, "<!-- /table -->", "after"]


def test_a_readme_without_markers_is_an_error(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("no markers\n")
    with pytest.raises(ValueError, match="one pair of markers"):
        table.write([], readme)
