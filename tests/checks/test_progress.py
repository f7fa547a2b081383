"""The progress file: what it keeps, and that nothing that happens to it breaks a check."""

import builtins
import json
import multiprocessing
import os
import stat

import pytest

from lib.checks import Case, Exercise, Misconception, check, progress

EXERCISE = Exercise(
    "99.3",
    "Same",
    reference=lambda x: x,
    cases=[Case("one", 1), Case("two", 2)],
    misconceptions=[Misconception("adds one", lambda x: x + 1, "why", "look")],
    hints=("a", "b", "c"),
)


def test_checks_are_remembered(course_home):
    for answer in (..., lambda x: x + 1, lambda x: x + 1, lambda x: 7, lambda x: x, lambda x: None):
        check(EXERCISE, answer)
    entry = json.loads((course_home / "progress.json").read_text())["exercises"]["99.3"]
    assert entry["tries"] == 5  # what is not written is no try
    assert entry["misconceptions"] == {"adds one": 2}
    assert entry["passed"] and entry["last"] == "none"  # once passed stays passed
    assert not list(course_home.glob("*.tmp"))


def test_without_course_home_the_file_is_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("COURSE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    check(EXERCISE, lambda x: x)
    assert (tmp_path / ".perceptron-to-gpt" / "progress.json").is_file()


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]", '{"version": 1}', '{"version": 2, "exercises": {}}', '{"version": 1, "exercises": {"99.3": 1}}'],
)
def test_a_damaged_file_is_kept_aside_and_said(course_home, damage):
    course_home.mkdir()
    for _ in range(2):
        (course_home / "progress.json").write_text(damage)
        result = check(EXERCISE, lambda x: x)
        assert result.passed and "damaged" in repr(result)
    assert [(course_home / f"progress.broken-{n}.json").read_text() for n in (1, 2)] == [damage, damage]
    assert "damaged" not in repr(check(EXERCISE, lambda x: x))
    assert progress.load()["99.3"]["tries"] == 2


def test_a_home_that_cannot_be_written_costs_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "file"))
    result = check(EXERCISE, lambda x: x)
    assert result.passed and "Progress was not saved" in repr(result)
    assert len(repr(result).splitlines()) == 2


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="missing: a user who is not root")
def test_a_read_only_home_costs_one_line(course_home):
    course_home.mkdir()
    course_home.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert "Progress was not saved" in repr(check(EXERCISE, lambda x: x))


def test_a_full_disk_leaves_the_old_file(course_home, monkeypatch):
    check(EXERCISE, lambda x: x)
    before = (course_home / "progress.json").read_text()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(progress.json, "dump", full)
    assert "No space left on device" in repr(check(EXERCISE, lambda x: x))
    assert (course_home / "progress.json").read_text() == before
    assert not list(course_home.glob("*.tmp"))


def _record_many(home):
    os.environ["COURSE_HOME"] = home
    for _ in range(25):
        assert progress.record("99.3", "value") == ""


def test_two_processes_lose_nothing(course_home):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_record_many, args=(str(course_home),)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [w.exitcode for w in workers] == [0, 0]
    assert progress.load()["99.3"]["tries"] == 50


def test_without_filelock_progress_is_kept_all_the_same(course_home, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "filelock":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert check(EXERCISE, lambda x: x).passed
    assert progress.load()["99.3"]["tries"] == 1


def test_the_table_shows_every_exercise(course_home):
    check(EXERCISE, lambda x: x + 1)
    text = progress.table()
    assert "✗ 99.3" in text and "adds one" in text and "· 10.1" in text
    assert "0 of " in text.splitlines()[-1]
    check(EXERCISE, lambda x: x)
    assert "✓ 99.3" in progress.table(course_home / "progress.json")


def _learner(path, *checks):
    os.environ["COURSE_HOME"] = str(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    for number, kind, misconception in checks:
        progress.record(number, kind, misconception)
    if path.name != "progress.json":
        (path.parent / "progress.json").replace(path)
    return path


def test_a_groups_files_are_merged(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_HOME", "")  # _learner sets it; this puts it back
    anna = _learner(tmp_path / "a" / "anna.json", ("10.1", "pass", None), ("10.2", "misconception", "adds one"))
    ben = _learner(
        tmp_path / "ben" / "progress.json", ("10.1", "misconception", "adds one"), ("10.2", "misconception", "adds one")
    )
    (tmp_path / "torn.json").write_text("{")
    text = progress.merge([anna, str(ben), tmp_path / "torn.json", tmp_path / "nobody.json"])
    lines = [line.split() for line in text.splitlines()]
    assert ["exercise", "anna", "ben", "passed"] in lines
    assert ["10.1", "✓", "1", "✗", "1", "1", "of", "2"] in lines
    met = text[text.index("Misconceptions") :].splitlines()
    assert met[4].split() == ["10.2", "adds", "one", "2", "2"]  # the one that most learners met comes first
    assert met[5].split() == ["10.1", "adds", "one", "1", "1"]
    assert "left out" in text and "torn.json is not a progress file" in text and "nobody.json is not there" in text


def test_merging_nothing_says_so(tmp_path):
    assert "left out" in progress.merge([tmp_path / "nobody.json"])
