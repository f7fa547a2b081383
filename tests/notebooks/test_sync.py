"""Cells marked `# lib:` are compared with lib by syntax tree."""

import nbformat
import pytest
from sync import differences

LIB = '''"""Module."""
import math

PI: float = 3.0


class A:
    """Doc."""

    def f(self, x):
        """Doc."""
        return x + 1  # why
'''


@pytest.fixture
def compare(tmp_path):
    (tmp_path / "lib" / "pack").mkdir(parents=True)
    (tmp_path / "lib" / "pack" / "a.py").write_text(LIB)
    path = tmp_path / "book.ipynb"

    def run(source, write=False):
        nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)]), path)
        return list(differences([path], tmp_path / "lib", write))

    run.path, run.lib = path, tmp_path / "lib"
    return run


@pytest.mark.parametrize(
    "source",
    [
        "# lib: pack/a.py::A\nclass A:\n    def f(self, x):\n        return (x+1)",
        '# lib: pack/a.py::A\nclass A:\n    """Other words."""\n    def f(self, x): return x + 1',
        "# lib: pack/a.py::A.f\ndef f(self, x):\n    return x + 1",
        "# lib: pack/a.py::PI\nPI: float = 3.0",
        "x = 1  # not marked",
    ],
)
def test_the_same_code_agrees_whatever_its_layout(compare, source):
    assert compare(source) == []


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("# lib: pack/a.py::A.f\ndef f(self, x):\n    return x + 2", "+    return x + 2"),
        ("# lib: pack/a.py::B\nclass B: pass", "lib/pack/a.py has no B"),
        ("# lib: pack/b.py::A\nclass A: pass", "there is no lib/pack/b.py"),
        ("# lib: pack/a.py A\nclass A: pass", "is not of the form"),
        ("# lib: pack/a.py::A\nclass A(:", "invalid syntax"),
    ],
)
def test_what_differs_is_shown(compare, source, said):
    (found,) = compare(source)
    assert "book.ipynb, cell 0" in found and said in found


def test_writing_takes_libs_code(compare):
    assert compare("# lib: pack/a.py::A.f\ndef f(self, x):\n    return x", write=True)
    assert list(differences([compare.path], compare.lib, write=False)) == []
