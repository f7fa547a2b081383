"""`make outputs`: what it stores, and what it refuses."""

import nbformat
import outputs
import pytest


@pytest.fixture
def book(tmp_path):
    def write(*sources, tags=()):
        cells = [nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)}) for source in sources]
        made = nbformat.v4.new_notebook(
            cells=cells, metadata={"course": {"title": "t"}, "language_info": {"name": "x"}}
        )
        nbformat.write(made, tmp_path / "book.ipynb")
        return tmp_path / "book.ipynb"

    return write


def read(path):
    return nbformat.read(path, as_version=4)


def test_outputs_are_stored_and_twice_the_same(book, capsys):
    path = book("import os; print(os.environ['OMP_NUM_THREADS'], os.getcwd())", "6 * 7", tags=["nbval-ignore-output"])
    assert outputs.main([str(path)]) == 0
    first = path.read_bytes()
    stored = read(path)
    assert stored.cells[0].outputs[0].text.split() == ["1", str(path.parent)]
    assert [c.execution_count for c in stored.cells] == [1, 2] and stored.cells[1].outputs[0].execution_count == 2
    assert "execution" not in stored.cells[0].metadata and set(stored.metadata) == {"course"}
    assert "2 of 2 code cells not compared (100%)" in capsys.readouterr().out
    outputs.main([str(path)])
    assert path.read_bytes() == first


def test_an_error_is_shown_and_nothing_is_stored(book, capsys):
    path = book("x = 1", "x / 0")
    before = path.read_bytes()
    assert outputs.main([str(path)]) == 1
    said = capsys.readouterr().err
    assert "ZeroDivisionError: division by zero" in said and "x / 0" in said
    assert path.read_bytes() == before


def test_a_notebook_over_the_limit_is_not_stored(book, capsys):
    path = book("print(('x' * 99 + chr(10)) * 6_000)")  # many lines: one long line takes nbclient minutes
    before = path.read_bytes()
    assert outputs.main([str(path)]) == 1
    assert "is over 500 KB; not stored" in capsys.readouterr().err and path.read_bytes() == before


def test_figures_can_be_looked_at(book, tmp_path):
    path = book("from PIL import Image\nImage.new('RGB', (2, 2))")
    outputs.main([str(path)])
    assert outputs.main([str(path), "--png", str(tmp_path / "png")]) == 0
    (figure,) = (tmp_path / "png").glob("*.png")
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_a_name_that_is_wrong_is_said(tmp_path, capsys):
    assert outputs.main([str(tmp_path / "no.ipynb")]) == 2
    assert "there is no" in capsys.readouterr().err
