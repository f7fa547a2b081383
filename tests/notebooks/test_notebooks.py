"""What holds for every notebook of the course."""

import ast

import nbformat
import pytest
from build_exercises import CHECK, HEADING, build
from nbfiles import every, prepare
from outputs import LIMIT, excused
from sync import differences

from lib import ROOT, data
from lib.checks.core import diagnose
from lib.checks.declare import exercises, find
from lib.runner import run

LESSONS, SOLUTIONS, EXERCISES = every("notebooks"), every("solutions"), every("exercises")
ALL = [*LESSONS, *SOLUTIONS, *EXERCISES]


def each(paths):
    return pytest.mark.parametrize("path", paths, ids=lambda p: f"{p.parent.name}/{p.stem}")


def read(path):
    return nbformat.read(path, as_version=4)


def code(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def test_every_lesson_has_its_solution_and_exercise_notebook():
    assert LESSONS
    assert {p.name for p in LESSONS} == {p.name for p in SOLUTIONS} == {p.name for p in EXERCISES}


def test_every_declared_exercise_stands_in_a_solution_notebook():
    text = "\n".join(cell.source for path in SOLUTIONS for cell in read(path).cells if cell.cell_type == "markdown")
    assert sorted(HEADING.findall(text)) == sorted(e.number for e in exercises())


def test_exercise_notebooks_are_in_step():
    assert build(check=True) == [], "run `make exercises`"


def test_cells_are_in_step_with_lib():
    assert list(differences([*LESSONS, *SOLUTIONS], ROOT / "lib", write=False)) == []


@each(ALL)
def test_a_notebook_is_valid_and_says_what_it_is(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert "course" in notebook.metadata, "the notebook metadata of docs/authoring.md is missing"
    course = notebook.metadata["course"]
    assert course["title"].strip() and course["minutes"] > 0
    assert set(course["needs"]) <= {p.stem for p in LESSONS}
    assert set(course["data"]) <= {*data.CATALOG}, "names of data sets, or of packaged weights: `course data list`"
    assert notebook.metadata["kernelspec"]["name"] == "python3"
    first = notebook.cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ") and "<!-- badges -->" in first.source
    setup = [cell for cell in notebook.cells if "setup" in cell.metadata.get("tags", [])]
    assert len(setup) == 1 and "from lib.bootstrap import setup; setup()" in setup[0].source


@each([p for p in SOLUTIONS if not p.name.startswith("00")])
def test_a_chapter_has_four_exercises_or_more(path):
    assert len(HEADING.findall("\n".join(c.source for c in read(path).cells if c.cell_type == "markdown"))) >= 4


@each(ALL)
def test_no_cell_is_longer_than_30_lines(path):
    longest = max(len(cell.source.splitlines()) for cell in code(path))
    assert longest <= 30


@each([*LESSONS, *SOLUTIONS])
def test_outputs_are_stored_without_errors_and_small(path):
    assert path.stat().st_size <= LIMIT
    for i, cell in enumerate(code(path)):
        assert cell.execution_count == i + 1, f"code cell {i} was not run in order; make outputs"
        assert not [o for o in cell.outputs if o.output_type == "error"], f"code cell {i} stores an error"


@each([*LESSONS, *SOLUTIONS])
def test_fewer_than_one_cell_in_five_is_excused_from_comparison(path):
    aside, cells = excused(read(path))
    assert aside < 0.2 * cells, f"{aside} of {cells}"


@each(SOLUTIONS)
def test_every_stored_check_passed(path):
    for cell in code(path):
        if CHECK.search(cell.source):
            shown = "\n".join(o.data["text/plain"] for o in cell.outputs if o.output_type == "execute_result")
            assert shown.startswith("✓"), f"{cell.source}: {shown or 'shows nothing: check must be the last line'}"


@each([p for p in LESSONS if not p.name.startswith("00")])
def test_a_lesson_asserts_what_it_claims(path):
    trees = [ast.parse(cell.source) for cell in code(path)]
    assert sum(isinstance(node, ast.Assert) for tree in trees for node in ast.walk(tree)) >= 3


@each(EXERCISES)
def test_an_exercise_notebook_runs_to_its_end_with_nothing_written(path):
    """As someone who chooses Run All before writing anything: told what is missing, and never stopped."""
    if lacking := prepare(path):
        pytest.skip(f"missing: {lacking}")
    assert run(path).error == ""


@each(EXERCISES)
def test_every_stub_says_that_it_is_not_written(path):
    """Runs each exercise's cells up to its check, on top of nothing but what they import and define."""
    scope, number = {}, ""
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            number = (HEADING.findall(cell.source) or [number])[0]
        elif CHECK.search(cell.source) and number:
            call = next(
                n
                for n in ast.walk(ast.parse(cell.source))
                if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "check"
            )
            answer = eval(ast.unparse(call.args[1]), scope)
            result = diagnose(find(ast.literal_eval(call.args[0])), answer, 0)
            assert result.kind == "unwritten", f"{number}: {result}"
        elif "setup" not in cell.metadata.get("tags", []):
            _define(cell.source, scope)


def _define(source, scope):
    """Run a cell's imports, definitions and assignments as far as they go without the answers."""
    kinds = ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.If, ast.Assign, ast.AnnAssign
    for node in ast.parse(source).body:
        if isinstance(node, kinds):
            try:
                exec(compile(ast.Module([node], []), "<cell>", "exec"), scope)
            except (NotImplementedError, NameError, TypeError):
                if not isinstance(node, (ast.Assign, ast.AnnAssign, ast.If)):
                    raise  # only a value or a condition that needs an answer may fail
