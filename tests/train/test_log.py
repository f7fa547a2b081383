"""What a run shows and logs: rows, curves, the bar."""

import csv
import io
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from lib.train import fit, log, progress
from tests.train import small

CONFIG = replace(small.CONFIG, steps=6, save_every=2, eval_every=3)


def test_a_row_for_each_step_with_every_digit(tmp_path):
    result = fit(small.task(), CONFIG, tmp_path, show="none")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "metrics.csv").read_text())))
    assert [row["step"] for row in rows] == list("123456")
    assert list(rows[0]) == ["step", "loss", "lr", "norm", "accuracy"]
    assert [row["accuracy"] == "" for row in rows] == [True, True, False, True, True, False]
    assert [{k: float(v) for k, v in row.items() if v} for row in rows] == result.history
    assert log.read(tmp_path / "metrics.csv") == result.history


def test_rows_after_the_resumed_step_are_cut_and_none_is_missing(tmp_path):
    first = fit(small.task(), CONFIG, tmp_path, show="none")
    expected = (tmp_path / "metrics.csv").read_bytes()
    import shutil

    shutil.rmtree(tmp_path / "step-00000006")
    with open(tmp_path / "metrics.csv", "ab") as file:
        file.write(b"7,0.1,0.2")  # cut short
    again = fit(small.task(), CONFIG, tmp_path, resume=True, show="none")
    assert (tmp_path / "metrics.csv").read_bytes() == expected and again.history == first.history


def test_a_new_column_takes_its_place_beside_the_old_rows(tmp_path):
    metrics = log.Metrics(tmp_path / "metrics.csv")
    assert metrics.cut(0) == []
    for row in ({"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}, {"step": 3, "loss": 0.1, "new": 7.0}):
        metrics.add(row)
        metrics.flush()
    assert (tmp_path / "metrics.csv").read_text() == "step,loss,new\n1,0.5,\n2,0.25,\n3,0.1,7.0\n"


def test_rows_that_could_not_be_cut_are_cut_later(tmp_path, monkeypatch):
    """A disk that was full when the run was resumed and is not any more."""
    (tmp_path / "metrics.csv").write_text("step,loss\n1,0.5\n2,0.25\n3,0.125\n")
    metrics = log.Metrics(tmp_path / "metrics.csv")

    def full(path, data):
        raise OSError(28, "full")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="full"):
        patch.setattr(log.files, "put", full)
        metrics.cut(1)
    metrics.add({"step": 2, "loss": 0.75})
    metrics.flush()
    assert (tmp_path / "metrics.csv").read_text() == "step,loss\n1,0.5\n2,0.75\n"


def test_rows_wait_for_a_second(tmp_path, monkeypatch):
    metrics = log.Metrics(tmp_path / "metrics.csv")
    metrics.cut(0)
    metrics.add({"step": 1, "loss": 0.5})
    assert (tmp_path / "metrics.csv").read_text() == ""
    monkeypatch.setattr(log.Metrics, "PAUSE", 0)
    metrics.add({"step": 2, "loss": 0.5})
    assert (tmp_path / "metrics.csv").read_text() == "step,loss\n1,0.5\n2,0.5\n"


def test_the_same_rows_are_in_tensorboard(tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="no tensorboard")
    result = fit(small.task(), CONFIG, tmp_path, show="none")
    events = reader.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for name in ("loss", "lr", "norm", "accuracy"):
        expected = {row["step"]: row[name] for row in result.history if name in row}
        got = {event.step: event.value for event in events.Scalars(name)}
        assert got == pytest.approx(expected, rel=1e-6)


def test_without_tensorboard_the_run_has_no_curves(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    result = fit(small.task(), CONFIG, tmp_path, show="none")
    assert result.unsaved == [] and not (tmp_path / "tensorboard").exists()


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit(small.task(), CONFIG, show="none")
    assert not list(tmp_path.iterdir())


def test_the_bar_shows_loss_throughput_and_time_left(capsys):
    fit(small.task(), replace(CONFIG, steps=200, patience=0))
    said = capsys.readouterr().err
    assert re.search(r"\d+/200 \[\d\d:\d\d<\d\d:\d\d, +[\d.]+step/s, loss [\d.e-]+, \d+ examples/s\]", said), said
    assert "200/200" in said


def test_the_bar_goes_on_where_the_run_does(tmp_path, capsys):
    fit(small.task(), replace(CONFIG, steps=4), tmp_path, show="none")
    fit(small.task(), CONFIG, tmp_path, resume=True, allow_changes=True)
    said = capsys.readouterr().err
    assert " 4/6 " in said and " 0/6 " not in said


def test_show_none_is_silent(capsys):
    fit(small.task(), CONFIG, show="none")
    assert capsys.readouterr() == ("", "")


def test_outside_a_notebook_a_plot_is_a_bar(capsys):
    fit(small.task(), CONFIG, show="plot")
    assert "6/6" in capsys.readouterr().err


def test_in_a_notebook_the_curve_is_one_display_updated_now_and_then(monkeypatch):
    import IPython.display

    class Handle:
        updates = 0

        def update(self, figure):
            self.updates += 1

    handle, shown = Handle(), []
    monkeypatch.setattr(IPython.display, "display", lambda figure, display_id: shown.append(figure) or handle)
    monkeypatch.setattr(progress.Curve, "possible", staticmethod(lambda: True))
    monkeypatch.setattr(progress.Curve, "PAUSE", 0)
    monkeypatch.setattr(progress.Curve, "SHARE", 0)
    fit(small.task(), CONFIG, show="plot")
    assert len(shown) == 1 and handle.updates == 6, "each of six steps, and once more at the end"
    axes = shown[0].axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "loss")


def test_the_curve_is_the_mean_of_neighbours_where_rows_are_many():
    rows = [{"step": i + 1, "loss": float(i)} for i in range(1000)]
    line = progress.draw(rows, points=100).axes[0].lines[0]
    assert len(line.get_xdata()) == 100
    assert line.get_ydata()[:2].tolist() == [4.5, 14.5] and line.get_xdata()[:2].tolist() == [10, 20]


def test_drawing_takes_a_twentieth_of_the_time_at_most(monkeypatch):
    """A clock that only drawing moves, by a second each."""
    now, drawn = [0.0], []
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def slow(rows, points):
        now[0] += 1
        drawn.append(now[0])
        import matplotlib.figure

        return matplotlib.figure.Figure()

    monkeypatch.setattr(progress, "draw", slow)
    monkeypatch.setattr("IPython.display.display", lambda figure, display_id: type("", (), {"update": print})())
    curve = progress.Curve()
    for _ in range(1000):
        now[0] += 0.1
        curve.update([{"step": 1, "loss": 1.0}])
    assert 4 <= len(drawn) <= 6


def test_importing_is_light():
    """Neither Lightning nor anything that draws, until a run starts."""
    code = "import lib.train, sys; print({'lightning', 'matplotlib', 'safetensors', 'tensorboard'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
