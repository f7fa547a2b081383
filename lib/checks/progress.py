"""The file that remembers: $COURSE_HOME/progress.json, and a group's files side by side.

    {"version": 1, "exercises": {"10.1": {"tries": 3, "passed": "2026-01-31", "last": "pass",
                                          "misconceptions": {"uses labels 0 and 1": 2}}}}

No account, no name, nothing leaves the machine. Nothing here ever makes a check fail: what goes wrong with the file
comes back as a one-line note.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

VERSION = 1


def home() -> Path:
    """`$COURSE_HOME`, or `.perceptron-to-gpt` in the reader's home folder."""
    return Path(os.environ.get("COURSE_HOME") or Path.home() / ".perceptron-to-gpt")


def load(path: str | Path | None = None) -> dict[str, Any]:
    """The exercises of a progress file, {} where there is no file; ValueError where it is none of ours."""
    path = Path(path) if path is not None else home() / "progress.json"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    try:
        stored = json.loads(text)
        exercises = stored["exercises"]
        if stored["version"] != VERSION:
            raise ValueError(f"version {stored['version']}, not {VERSION}")
        for entry in exercises.values():
            _ = entry["tries"] + 0, entry["passed"], entry["last"], entry["misconceptions"].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a progress file: {type(error).__name__}: {error}") from error
    return exercises


def record(number: str, kind: str, misconception: str | None = None) -> str:
    """Add one check to the file. Returns a note for the reader, "" when all went well."""
    if kind == "unwritten":
        return ""
    path = home() / "progress.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _lock(path):
            exercises, note = _load_or_set_aside(path)
            entry = exercises.setdefault(number, {"tries": 0, "passed": None, "last": "", "misconceptions": {}})
            entry["tries"] += 1
            entry["last"] = kind
            if kind == "pass" and entry["passed"] is None:
                entry["passed"] = datetime.date.today().isoformat()
            if misconception:
                entry["misconceptions"][misconception] = entry["misconceptions"].get(misconception, 0) + 1
            _write(path, {"version": VERSION, "exercises": exercises})
        return note
    except OSError as error:  # read-only, full disk, or a lock that another process holds for long
        reason = error.strerror or type(error).__name__
        return f"(Progress was not saved in {path}: {reason}. COURSE_HOME=folder chooses another place.)"


def _lock(path: Path) -> contextlib.AbstractContextManager:
    try:
        from filelock import FileLock
    except ImportError:
        return contextlib.nullcontext()
    return FileLock(f"{path}.lock", timeout=5)


def _load_or_set_aside(path: Path) -> tuple[dict[str, Any], str]:
    try:
        return load(path), ""
    except ValueError:
        n = next(n for n in range(1, 10_000) if not path.with_name(f"progress.broken-{n}.json").exists())
        aside = path.with_name(f"progress.broken-{n}.json")
        path.replace(aside)
        return {}, f"(The progress file was damaged. It is kept as {aside}; a new one was begun.)"


def _write(path: Path, content: dict[str, Any]) -> None:
    """All or nothing: write beside the file, then put it in its place."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix="progress-", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1, sort_keys=True, ensure_ascii=False)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def table(path: str | Path | None = None) -> str:
    """What one reader has done, chapter by chapter, and the file that says so."""
    from lib.checks.declare import exercises

    path = Path(path) if path is not None else home() / "progress.json"
    done = load(path)
    rows = [["exercise", "", "tries", "misconceptions met"]]
    declared = {e.number: e.title for e in exercises()}
    for number in sorted({*declared, *done}, key=_order):
        entry = done.get(number)
        met = ", ".join(entry["misconceptions"]) if entry else ""
        state = f"{_sign(entry)} {number} {declared.get(number, '(no longer in the course)')}"
        rows.append([state, _word(entry), str(entry["tries"]) if entry else "", met])
    passed = sum(bool(e["passed"]) for e in done.values())
    return f"{_layout(rows)}\n\n{passed} of {len(rows) - 1} exercises passed. This is kept in {path}."


def merge(paths: Iterable[str | Path]) -> str:
    """A group's files side by side: exercises x learners, then which misconceptions the group met.

    A learner is called what the file is called (anna.json), or its folder where the file is named progress.json.
    """
    learners, left_out = {}, []
    for path in map(Path, paths):
        try:
            if not path.is_file():
                raise ValueError(f"{path} is not there.")
            learners[_name(path, learners)] = load(path)
        except (OSError, ValueError) as error:
            left_out.append(f"left out: {error}")
    numbers = sorted({number for done in learners.values() for number in done}, key=_order)
    rows = [["exercise", *learners, "passed"]]
    for number in numbers:
        entries = [done.get(number) for done in learners.values()]
        passed = sum(bool(e and e["passed"]) for e in entries)
        cells = [f"{_sign(e)} {e['tries']}" if e else "·" for e in entries]
        rows.append([number, *cells, f"{passed} of {len(learners)}"])
    parts = [_layout(rows), "✓ passed, ✗ tried; the number counts tries.", _misconceptions(learners), *left_out]
    return "\n\n".join(part for part in parts if part)


def _misconceptions(learners: dict[str, dict[str, Any]]) -> str:
    people, times = Counter(), Counter()
    for done in learners.values():
        for number, entry in done.items():
            for title, n in entry["misconceptions"].items():
                people[number, title] += 1
                times[number, title] += n
    order = sorted(people, key=lambda key: (-people[key], -times[key], _order(key[0]), key[1]))
    rows = [["exercise", "misconception", "learners", "times"]]
    rows += [[number, title, str(people[number, title]), str(times[number, title])] for number, title in order]
    return f"Misconceptions that the group met, the most common first\n\n{_layout(rows)}" if order else ""


def _name(path: Path, taken: dict[str, Any]) -> str:
    name = path.resolve().parent.name if path.stem == "progress" else path.stem
    return name if name not in taken else f"{name} {sum(t.split(' ')[0] == name for t in taken) + 1}"


def _order(number: str) -> tuple[int, ...]:
    return tuple(int(p) if p.isdigit() else 0 for p in number.split("."))


def _sign(entry: dict[str, Any] | None) -> str:
    return "·" if entry is None else "✓" if entry["passed"] else "✗"


def _word(entry: dict[str, Any] | None) -> str:
    return "" if entry is None else f"passed {entry['passed']}" if entry["passed"] else "not yet"


def _layout(rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])
