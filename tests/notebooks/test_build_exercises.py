"""Cutting the answers out: on a small chapter of its own, in a folder of its own."""

import types

import build_exercises
import nbformat
import pytest
from build_exercises import Fault, build, cut, exercise_of, with_hints

from lib.checks import Case, Exercise, declare

EXERCISE = Exercise("99.1", "Twice", 5, 2, lambda x: 2 * x, [Case("one", 1)], hints=("Think.", "Add.", "x + x"))
TITLE = "## Exercise 99.1 · Twice\n\n<!-- hints 99.1 --><!-- /hints -->"
ANSWER = 'def twice(x):\n    """Twice x."""\n    # BEGIN SOLUTION\n    return 2 * x\n    # END SOLUTION'


@pytest.fixture(autouse=True)
def chapter_99(monkeypatch):
    module = types.SimpleNamespace(EXERCISES=[EXERCISE])
    real = declare.modules
    monkeypatch.setattr(declare, "modules", lambda chapter=None: [module] if chapter == 99 else real(chapter))


def notebook(*cells):
    make = {"m": nbformat.v4.new_markdown_cell, "c": nbformat.v4.new_code_cell}
    made = nbformat.v4.new_notebook(cells=[make[kind](source) for kind, source in cells])
    for i, cell in enumerate(made.cells):
        cell.id = f"cell-{i}"
    return made


def chapter(answer=ANSWER):
    return notebook(("m", "# 99"), ("m", TITLE), ("c", answer), ("c", 'check("99.1", twice)'))


def test_a_stub_keeps_signature_and_docstring():
    stub = cut(ANSWER, "99.1", 0)
    assert stub == 'def twice(x):\n    """Twice x."""\n    raise NotImplementedError("Exercise 99.1: write twice here")'
    scope = {}
    exec(stub, scope)
    with pytest.raises(NotImplementedError, match="write twice here"):
        scope["twice"](1)


def test_methods_are_cut_one_by_one():
    source = (
        "class A:\n    def f(self):\n        # BEGIN SOLUTION\n        a = 1\n\n        return a\n"
        "        # END SOLUTION\n\n"
        "    def g(self):\n        x = 1\n        # BEGIN SOLUTION\n        return x\n        # END SOLUTION"
    )
    made = cut(source, "99.1", 0)
    assert "write A.f here" in made and "write A.g here" in made and "return" not in made and "x = 1" in made


def test_a_function_may_stand_under_an_if():
    source = "if True:\n    x = 1\n\n    def f():\n        # BEGIN SOLUTION\n        return x\n        # END SOLUTION"
    stub = '    def f():\n        raise NotImplementedError("Exercise 99.1: write f here")'
    assert cut(source, "99.1", 0).endswith(stub)


def test_values_at_the_top_level_become_ellipsis_so_that_the_notebook_runs_on():
    source = "n = 3\n# BEGIN SOLUTION\nw, b = [1], 2\nc: int = 4\n# END SOLUTION"
    made = cut(source, "99.1", 0)
    scope = {}
    exec(made, scope)
    assert scope["w"] is scope["b"] is scope["c"] is ... and scope["n"] == 3
    assert "# Exercise 99.1: write w here" in made


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("# BEGIN SOLUTION\nx = 1", "do not alternate"),
        ("x = 1\n# END SOLUTION", "do not alternate"),
        ("# END SOLUTION\nx = 1\n# BEGIN SOLUTION", "do not alternate"),
        ("# BEGIN SOLUTION\n# BEGIN SOLUTION\nx = 1\n# END SOLUTION", "do not alternate"),
        ("# BEGIN SOLUTION\ndef f():\n    return 1\n# END SOLUTION", "below the `def` line"),
        ("class A:\n    # BEGIN SOLUTION\n    x = 1\n    # END SOLUTION", "below the `def` line"),
        ("# BEGIN SOLUTION\nprint(1)\n# END SOLUTION", "must assign a name"),
        ("# BEGIN SOLUTION\nx = (\n# END SOLUTION", "cell 0, line"),
    ],
)
def test_markers_that_cannot_work_are_refused(source, said):
    with pytest.raises(Fault, match=said):
        cut(source, "99.1", 0)


def test_hints_are_folded_and_filled_in_once_and_for_all():
    once = with_hints(chapter())
    text = once.cells[1].source
    assert "About 5 minutes · difficulty ★★☆ (2 of 3)" in text
    assert text.count("<details>") == text.count("</details>") == 3
    assert with_hints(once) == once


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([("m", TITLE), ("c", ANSWER)], 'cell 0: exercise 99.1 is followed by no cell with check\\("99.1"'),
        ([("m", "## Exercise 99.1"), ("c", 'check("99.1", f)')], "cell 0: exercise 99.1 has no <!-- hints"),
        ([("m", TITLE.replace("99.1", "99.7"))], "cell 0: There is no exercise 99.7"),
        ([("c", 'check("99.7", f)')], "cell 0: There is no exercise 99.7"),
        ([("c", ANSWER)], "cell 0: an answer stands before the first heading"),
        ([("m", "<!-- hints 99.1 -->")], "cell 0: a hints marker is not closed"),
    ],
)
def test_a_notebook_that_cannot_work_is_refused_with_its_cell(cells, said):
    with pytest.raises(Fault, match=said):
        exercise_of(with_hints(notebook(*cells)))


def test_building_writes_once_and_then_changes_nothing(tmp_path):
    (tmp_path / "solutions").mkdir()
    source = chapter()
    source.cells[2].outputs, source.cells[2].execution_count = [nbformat.v4.new_output("stream", text="x")], 3
    source.metadata.course = {"title": "Ninety-nine"}
    nbformat.write(source, tmp_path / "solutions" / "99_x.ipynb")
    assert build(check=True, root=tmp_path) == ["solutions/99_x.ipynb", "exercises/99_x.ipynb"]
    assert not (tmp_path / "exercises").exists()
    build(root=tmp_path)
    made = nbformat.read(tmp_path / "exercises" / "99_x.ipynb", as_version=4)
    assert [c.id for c in made.cells] == [c.id for c in source.cells]
    assert made.metadata.course.title == "Ninety-nine"
    assert made.cells[2].outputs == [] and made.cells[2].execution_count is None
    assert build(check=True, root=tmp_path) == build(root=tmp_path) == []
    solution = nbformat.read(tmp_path / "solutions" / "99_x.ipynb", as_version=4)
    assert solution.cells[2].outputs and "return 2 * x" in solution.cells[2].source


def test_an_edited_or_orphaned_exercise_is_out_of_step(tmp_path):
    (tmp_path / "solutions").mkdir()
    nbformat.write(chapter(), tmp_path / "solutions" / "99_x.ipynb")
    build(root=tmp_path)
    path = tmp_path / "exercises" / "99_x.ipynb"
    path.write_text(path.read_text().replace("Twice x", "Thrice x"))
    (tmp_path / "exercises" / "98_y.ipynb").write_text(path.read_text())
    found = build(check=True, root=tmp_path)
    assert found == ["exercises/99_x.ipynb", "exercises/98_y.ipynb (it has no solution notebook)"]


def test_a_fault_names_the_notebook(tmp_path, monkeypatch, capsys):
    (tmp_path / "solutions").mkdir()
    nbformat.write(chapter("# BEGIN SOLUTION"), tmp_path / "solutions" / "99_x.ipynb")
    monkeypatch.setattr(build_exercises, "build", lambda check: build(check, tmp_path))
    assert build_exercises.main(["--check"]) == 1
    assert "solutions/99_x.ipynb, cell 2: # BEGIN SOLUTION and" in capsys.readouterr().err
