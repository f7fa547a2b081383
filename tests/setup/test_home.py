"""`make home`: every badge and setup cell points at one home, and nothing else changes."""

from __future__ import annotations

import home
import nbformat
import pytest
from nbfiles import text_of

OURS = "https://github.com/anna/course"


@pytest.fixture
def root(tmp_path):
    """A small repository: pyproject, README and one notebook in each folder, stamped for OURS."""
    (tmp_path / "pyproject.toml").write_text(f'[tool.course]\nhome = "{OURS}"\n')
    (tmp_path / "README.md").write_text("# Course\n<!-- badges --><!-- /badges -->\ntext\n")
    for folder in ("notebooks", "solutions", "exercises"):
        (tmp_path / folder).mkdir()
        notebook = nbformat.v4.new_notebook()
        code = nbformat.v4.new_code_cell("1 + 1", outputs=[nbformat.v4.new_output("stream", text="2")])
        setup = nbformat.v4.new_code_cell("from lib.bootstrap import setup; setup()", metadata={"tags": ["setup"]})
        notebook.cells = [nbformat.v4.new_markdown_cell("# T\n<!-- badges --><!-- /badges -->\nmore"), setup, code]
        for i, cell in enumerate(notebook.cells):
            cell.id = f"cell-{i}"
        (tmp_path / folder / "10_topic.ipynb").write_text(text_of(notebook), encoding="utf-8")
    assert home.main([], tmp_path) == 0
    return tmp_path


@pytest.mark.parametrize(
    "form",
    [
        "https://github.com/ben/fork",
        "https://github.com/ben/fork/",
        "https://github.com/ben/fork.git",
        "git@github.com:ben/fork.git",
        "ssh://git@github.com/ben/fork.git",
        " https://github.com/ben/fork.git/ ",
    ],
)
def test_every_form_of_an_address_becomes_one(form):
    assert home.normal(form) == "https://github.com/ben/fork"


@pytest.mark.parametrize(
    "form",
    [
        "",
        "fork",
        "ben/fork",
        "http://github.com/ben/fork",
        "https://github.com/ben",
        "https://a.b/c/d e",
        'https://a.b/"/x',
        "https://a.b/c/d;rm",
        "https://a.b/$(x)/y",
        "file:///a/b",
        "git@github.com",
    ],
)
def test_nonsense_is_refused(form):
    with pytest.raises(ValueError, match="Expected https://"):
        home.normal(form)


def test_badges_open_this_notebook(root):
    for folder in ("notebooks", "solutions", "exercises"):
        text = nbformat.read(root / folder / "10_topic.ipynb", as_version=4).cells[0].source
        assert f"https://colab.research.google.com/github/anna/course/blob/main/{folder}/10_topic.ipynb" in text
        assert f"repo_url=https%3A%2F%2Fgithub.com%2Fanna%2Fcourse%2Fblob%2Fmain%2F{folder}%2F10_topic.ipynb" in text
        assert text.startswith("# T\n") and text.endswith("\nmore")
    assert "colab.research.google.com/github/anna/course" in (root / "README.md").read_text("utf-8")


def test_stamping_again_changes_nothing(root, capsys):
    assert home.changes(OURS, root) == {}
    assert home.main(["--check"], root) == 0


def test_a_new_home_is_put_everywhere_and_outputs_stay(root, monkeypatch, capsys):
    monkeypatch.setenv("URL", "git@github.com:ben/fork.git")
    assert home.main([], root) == 0
    for path in [root / "README.md", root / "pyproject.toml", *home.every(root)]:
        text = path.read_text("utf-8")
        assert "anna" not in text and "ben/fork" in text
    notebook = nbformat.read(root / "notebooks" / "10_topic.ipynb", as_version=4)
    assert notebook.cells[1].source == home.SETUP.format(
        url="https://github.com/ben/fork", name="fork", sorry=home.SORRY
    )
    assert notebook.cells[2].source == "1 + 1" and notebook.cells[2].outputs[0].text == "2"


def test_check_names_the_file_that_is_out_of_step_and_leaves_it(root, capsys):
    path = root / "solutions" / "10_topic.ipynb"
    path.write_text(path.read_text("utf-8").replace("anna", "eve"), encoding="utf-8")
    before = path.read_text("utf-8")
    assert home.main(["--check"], root) == 1
    assert "out of step: solutions/10_topic.ipynb" in capsys.readouterr().out
    assert path.read_text("utf-8") == before


def test_elsewhere_than_github_there_is_a_link_and_a_word_about_it(root, monkeypatch, capsys):
    monkeypatch.setenv("URL", "https://git.school.example/group/course")
    assert home.main([], root) == 0
    assert "no Colab and Lightning Studio badges" in capsys.readouterr().out
    text = (root / "README.md").read_text("utf-8")
    assert "[View on git.school.example](https://git.school.example/group/course)" in text
    assert "colab" not in text


def test_a_bad_address_changes_nothing(root, monkeypatch, capsys):
    monkeypatch.setenv("URL", "course")
    assert home.main([], root) == 1
    assert "'course' is not the address of a repository" in capsys.readouterr().err
    assert home.changes(OURS, root) == {}
