"""The `course` command: what it does with a mistake, which is a clear line and exit code 1, never a traceback."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from lib import data, doctor, runner
from lib.cli import app


@pytest.fixture(autouse=True)
def course_home(tmp_path, monkeypatch):
    """Progress and cache in a folder of the test's own, and no mirror."""
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("COURSE_DATA", raising=False)


def course(*arguments):
    """Run the command; returns its exit code and all that it said."""
    result = CliRunner().invoke(app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize("command", ["fetch", "verify"])
def test_an_unknown_data_set_suggests_the_nearest(command):
    code, said = course("data", command, "ylecun/mnst")
    assert code == 1
    assert "ylecun/mnist" in said and "Traceback" not in said


def test_one_failure_does_not_keep_the_others_from_their_turn():
    code, said = course("data", "verify", "nothing", "ylecun/mnist")
    assert code == 1
    assert "ylecun/mnist: right: " in said


def test_fetch_without_a_name_says_what_to_name():
    code, said = course("data", "fetch")
    assert code == 1 and "--core" in said


def test_list_shows_every_data_set():
    code, said = course("data", "list")
    assert code == 0
    assert all(name in said for name in data.CATALOG)


def test_a_full_disk_is_one_line(monkeypatch):
    def full(name):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(data, "fetch", full)
    code, said = course("data", "fetch", "ylecun/mnist")
    assert code == 1 and "No space left on device" in said


def test_an_unknown_chapter_suggests_the_nearest():
    code, said = course("run", "15")
    assert code == 1
    assert "There is no chapter 15. Did you mean 14_training_craft?" in said


@pytest.mark.parametrize(("mend", "code"), [("", 0), ("make room", 1)])
def test_doctor_fails_where_something_is_wrong(monkeypatch, mend, code):
    monkeypatch.setattr(doctor, "examine", lambda: [doctor.Finding("disk", "1 GB", mend)])
    assert course("doctor")[0] == code


def test_run_reports_each_notebook_and_fails_with_it(monkeypatch, tmp_path):
    runs = {"a.ipynb": runner.Run(tmp_path / "a.ipynb", 1.0, 2**20), "b.ipynb": None}
    runs["b.ipynb"] = runner.Run(tmp_path / "b.ipynb", 2.0, 2**20, "ValueError: no")
    monkeypatch.setattr(runner, "chapters", lambda numbers: [tmp_path / name for name in runs])
    monkeypatch.setattr(runner, "run", lambda path: runs[path.name])
    code, said = course("run")
    assert code == 1
    assert "a " in said and "ok" in said and "FAILED\nValueError: no" in said


def test_progress_without_a_file_is_an_empty_table():
    code, said = course("progress")
    assert code == 0 and "0 of" in said


def test_merge_shows_learners_side_by_side(tmp_path):
    entry = {"tries": 2, "passed": "2026-01-31", "last": "pass", "misconceptions": {}}
    files = []
    for name in ("anna", "ben"):
        files.append(str(tmp_path / f"{name}.json"))
        (tmp_path / f"{name}.json").write_text(json.dumps({"version": 1, "exercises": {"10.1": entry}}))
    code, said = course("progress", "--merge", *files)
    assert code == 0
    assert "anna" in said and "ben" in said and "2 of 2" in said


def test_merge_of_files_that_are_not_there():
    code, said = course("progress", "--merge", "anna.json")
    assert code == 1 and "None of these files is there" in said


def test_files_without_merge_are_explained():
    code, said = course("progress", "anna.json")
    assert code == 1 and "--merge" in said
