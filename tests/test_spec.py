"""Specifications: what differs from what, who comes from whom, and what cannot be built."""

from __future__ import annotations

import dataclasses
from functools import partial

import diffs
import pytest
import torch.nn.functional as F
from torch import nn
from typer.testing import CliRunner

from lib import ROOT
from lib import spec as family
from lib.attention.masks import causal
from lib.cli import app
from lib.layers.ff import Gated
from lib.layout import layouts
from lib.plot import family_tree
from lib.spec import Diff, Spec, add, diff, get, shown, tree


@pytest.fixture
def alone(monkeypatch):
    """A family of its own for one test."""
    monkeypatch.setattr(family, "_family", dict(family.family()))


def test_every_child_differs_from_its_parent_as_written_down():
    """`python scripts/diffs.py` writes the file again; look at what changed before you commit it."""
    assert diffs.FILE.read_text(encoding="utf-8") == diffs.text()


@pytest.mark.parametrize("file", sorted({layout.spec.name for layout in layouts().values()}))
def test_a_member_s_file_is_short(file):
    assert len((ROOT / "lib" / "zoo" / f"{file}.py").read_text(encoding="utf-8").splitlines()) <= 60


def test_a_diff_is_a_table_in_a_notebook():
    one = Spec(name="one")
    table = diff(one, one.but(d_ff=7, act=F.silu))._repr_html_()
    assert "<td>d_ff</td><td>256</td><td>7</td>" in table and "<td>act</td><td>gelu</td><td>silu</td>" in table
    assert "<th colspan=3 align=left>choices</th></tr><tr>" in table and diff(one, one)._repr_html_() == "no difference"
    assert "&lt;b&gt;" in diff(one, one.but(act=partial(F.gelu, approximate="<b>")))._repr_html_()


def test_the_drawing_holds_everyone_and_what_they_changed():
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    family_tree(ax)
    texts = {text.get_text() for text in ax.texts}
    assert {*family.family(), "residual, final", "sizes alone"} <= texts


def test_course_diff_and_course_tree():
    run = CliRunner().invoke
    found = run(app, ["diff", "bert", "roberta"])
    assert found.exit_code == 0 and "n_types     2 -> 1" in found.output
    assert "└─ gpt2" in run(app, ["tree", "gpt"]).output and "transformer\n" in run(app, ["tree"]).output
    wrong = run(app, ["diff", "bert", "robert"])
    assert wrong.exit_code == 1 and "did you mean 'roberta'?" in wrong.output


def test_every_member_names_its_paper():
    for spec in family.family().values():
        assert spec.paper.startswith(("arXiv:", "https://")), spec.name


def test_but_changes_what_it_is_told_and_nothing_else():
    one = Spec(name="one", d_model=32)
    two = one.but(d_ff=7, mask=causal)
    assert (two.d_ff, two.mask, two.d_model, two.name) == (7, causal, 32, "one")
    assert two.but(d_ff=256, mask=one.mask) == one
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.d_ff = 3  # type: ignore[misc]


def test_sizes_and_choices_are_told_apart():
    one = Spec(name="one", paper="a")
    found = diff(one, one.but(name="two", paper="b", d_ff=7, eps=1e-6, n_groups=2, ff=Gated, act=F.silu, bias=False))
    assert found.sizes == {"n_groups": (None, 2), "d_ff": (256, 7), "eps": (1e-5, 1e-6)}
    assert list(found.choices) == ["bias", "ff", "act"]
    assert "  ff          FeedForward -> Gated\n  act         gelu -> silu" in str(found)
    assert diff(one, one) == Diff({}, {}) and str(diff(one, one)) == "no difference"


def test_every_field_is_a_size_or_a_choice():
    one = Spec(name="one")
    numbers = {f.name for f in dataclasses.fields(one)[3:] if type(getattr(one, f.name)) in (int, float)}
    assert {*numbers, "n_groups"} == {name for name in vars(one) if name[:2] in ("n_", "d_", "p_")} - {
        "name", "parent", "paper"
    } | set(family.NUMBERS)  # fmt: skip


def test_derived_values_follow_and_are_not_listed():
    one = Spec(name="one", d_model=48, n_heads=6)
    assert one.d_head == 8 and one.but(n_heads=3).d_head == 16
    assert list(diff(one, one.but(n_heads=3)).sizes) == ["n_heads"]


def test_the_tree_shows_who_comes_from_whom(alone):
    add(Spec(name="root", paper="x"))
    for name, parent in (("a", "root"), ("b", "a"), ("c", "root")):
        add(get(parent).but(name=name, parent=parent))
    assert tree("root") == "root\n├─ a\n│  └─ b\n└─ c"
    assert tree("a") == "a\n└─ b"
    assert "root\n├─ a" in tree() and tree().splitlines()[0] in family.family()


def test_values_are_shown_as_a_reader_would_write_them():
    assert shown(stepped(5)) == "stepped(...)"
    assert shown(partial(Gated, act=F.silu)) == "Gated(act=silu)"
    assert [shown(each) for each in (causal, nn.LayerNorm, 1e-5, None)] == ["causal", "LayerNorm", "1e-05", "None"]


def stepped(step):
    return lambda b, h, q, k: q % step == k % step


WRONG = {
    "an unknown field": (lambda: Spec(name="x").but(n_layer=2), "no field n_layer: did you mean n_layers"),
    "a field like no other": (lambda: Spec(name="x").but(zzz=2), "no field zzz: it has name, parent, paper, n_vocab"),
    "an unknown model": (lambda: get("transfomer"), "no model is called 'transfomer': did you mean 'transformer'"),
    "a model like no other": (lambda: get("zzz"), "there are .*transformer"),
    "a name that is taken": (lambda: add(get("transformer")), "there is a model 'transformer' already"),
    "an orphan": (lambda: add(Spec(name="x", parent="y")), "its parent 'y' is not in the family"),
    "heads that do not fit": (lambda: Spec(name="x", d_model=10, n_heads=3), "d_model=10 is not a multiple"),
    "no layers": (lambda: Spec(name="x", n_layers=0), "n_layers is at least 1, not 0"),
    "types below 0": (lambda: Spec(name="x", n_types=-1), "n_types is 0 or more"),
    "a spread below 0": (lambda: Spec(name="x", std=-0.1), "std is 0 or more, not -0.1"),
    "no base": (lambda: Spec(name="x", base=0.0), "base is above 0, not 0.0"),
    "all dropped": (lambda: Spec(name="x", p_attend=1.0), "p_attend is a share below 1"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_is_a_clear_error(wrong, alone):
    run, message = WRONG[wrong]
    with pytest.raises(ValueError, match=message):
        run()
