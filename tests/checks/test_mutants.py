"""The mutants that the checks are measured with."""

import json

import mutants as tool
import nbformat
import pytest
from mutations import mutants

from lib.checks import Case, Exercise, Misconception, declare


def made(source, spans=((1, 99),)):
    return {changed for _, changed in mutants(source, list(spans))}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("y = a + b", {"y = a - b", "pass"}),
        ("y = a @ b.T", {"y = a * b.T", "y = a @ b", "pass"}),
        ("y += x", {"y -= x", "y = x", "pass"}),
        ("y = -x", {"y = x", "pass"}),
        ("y = x < z", {"y = x <= z", "y = x >= z", "pass"}),
        ("y = f(a, b)", {"y = f(b, a)", "pass"}),
        ("y = x.sum(axis=1)", {"y = x.mean(axis=1)", "y = x.sum()", "y = x.sum(axis=0)", "pass"}),
        ("y = x.copy()", {"y = x", "pass"}),
        ("y = x[1:]", {"y = x[:]", "y = x[2:]", "y = x[0:]", "pass"}),
        ("y = 1.5", {"y = 3.0", "pass"}),
        ("y = True", {"y = False", "pass"}),
        ("y = a if c else b", {"y = a if not c else b", "pass"}),
        ("y = float(x)", {"pass"}),
    ],
)
def test_each_kind_of_change_is_made(source, expected):
    assert made(source) == expected


def test_only_the_answer_is_changed_and_no_text_of_an_error_or_docstring():
    source = (
        'def f(x: int = 1):\n    """1 + 1."""\n    a = 1 + x\n    # BEGIN SOLUTION\n    return a\n    # END SOLUTION'
    )
    assert made(source, tool.spans(source)) == {'def f(x: int=1):\n    """1 + 1."""\n    a = 1 + x\n    pass'}
    assert made("raise ValueError('one')") == {"pass"}


def test_a_mutant_is_described_by_the_lines_that_differ():
    assert dict(mutants("def f(w, x):\n    return w + x", [(2, 2)])).keys() == {
        "return w + x -> return w - x",
        "return w + x -> pass",
    }


WEAK = [Case("zero", 0, 0)]  # 0 + 0 = 0 - 0: the check cannot tell
STRONG = [Case("two", 2, 1)]


@pytest.fixture
def chapter(tmp_path, monkeypatch, capsys):
    """Runs the tool on a chapter of one exercise; returns (exit code of the report, what it printed)."""
    monkeypatch.chdir(tmp_path)
    title, answer = (
        "## Exercise 99.1 · Add",
        "def add(a, b):\n    # BEGIN SOLUTION\n    return a + b\n    # END SOLUTION",
    )
    cells = [nbformat.v4.new_markdown_cell(title), nbformat.v4.new_code_cell(answer)]
    cells += [nbformat.v4.new_code_cell('check("99.1", add)'), nbformat.v4.new_code_cell("after = add(1, 2)")]
    path = tmp_path / "99_x.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)

    def run(cases, equivalent=None):
        mistake = Misconception("subtracts", lambda a, b: a - b, "why", "look")
        exercise = Exercise(
            "99.1", "Add", reference=lambda a, b: a + b, cases=cases, misconceptions=[mistake], hints=("a", "b", "c")
        )
        monkeypatch.setattr(tool, "find", lambda number: exercise)
        good = tool.report(tool.score(path), equivalent or {})
        return good, capsys.readouterr().out

    return run


def test_a_strong_check_kills_all(chapter):
    good, said = chapter(STRONG)
    assert good and "2 of 2 mutants killed (100.0%)" in said and "6 of 6 variants" in said


def test_a_weak_check_is_told_its_survivor_and_its_misconception(chapter):
    good, said = chapter(WEAK)
    assert not good and "1 of 2 mutants killed (50.0%)" in said
    assert "survives 99.1: return a + b -> return a - b" in said and "not named 99.1 'subtracts'" in said


def test_a_listed_equivalent_does_not_count_and_a_stale_entry_is_an_error(chapter):
    entry = {"99.1": [{"mutant": "return a + b -> return a - b", "reason": "for this test"}]}
    _, said = chapter(WEAK, entry)
    assert "1 of 1 mutants killed (100.0%), 1 more equivalent" in said
    good, said = chapter(STRONG, entry)
    assert not good and "stale entry in mutants_equivalent.json, 99.1: return a + b -> return a - b" in said


def test_every_listed_equivalent_has_a_reason():
    listed = json.loads(tool.EQUIVALENT.read_text(encoding="utf-8"))
    for number, entries in listed.items():
        assert declare.find(number)
        assert all(set(e) == {"mutant", "reason"} and len(e["reason"]) > 10 for e in entries)
