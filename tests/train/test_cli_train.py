"""`course train`: what a configuration may say, and what the command does with what it may not."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from lib import recipe, tasks
from lib.cli import app
from lib.train import ConfigError

LINE = """
task: line
options: {slope: 3}
train: {steps: 200, batch: 16, lr: 1e-1}
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty folder to work in, with one configuration, and the tests' own task beside the real ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(Path(__file__).parent / "tasks")])
    (tmp_path / "line.yaml").write_text(LINE, "utf-8")
    return tmp_path


def course(*arguments):
    """Run `course train`; returns its exit code and all that it said."""
    result = CliRunner().invoke(app, ["train", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_a_run_ends_with_its_score_and_where_it_is():
    code, said = course("line.yaml")
    assert code == 0, said
    assert "step 200" in said and "error 0.0" in said and f"Kept in {Path('runs/line')}" in said
    assert Path("runs/line").is_dir()


def test_set_wins_over_the_file(here):
    plan = recipe.read("line.yaml", ["train.steps=7", "options.slope=-1", "folder=elsewhere", "train.clip=1"])
    assert (plan.train.steps, plan.options.slope, plan.folder, plan.train.clip) == (7, -1.0, Path("elsewhere"), 1.0)
    assert plan.train.lr == 0.1


def test_the_seed_decides_the_first_weights():
    weights = [recipe.read("line.yaml", [f"train.seed={n}"]).make().model.weight.item() for n in (1, 1, 2)]
    assert weights[0] == weights[1] != weights[2]


def test_a_task_is_known_by_its_options_when_it_goes_on():
    assert recipe.read("line.yaml").make().options == {"task": "line", "slope": 3.0, "broken": False}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["lr=1"], "lr is not a field. Did you mean train.lr?"),
        (["trian.lr=1"], "trian is not a field. Did you mean train?"),
        (["train.lr"], "write key=value"),
        (["train.lrr=1"], "train.lrr is not a field. Did you mean lr?"),
        (["train.lr=-1"], "train.lr=-1.0 is out of range"),
        (["options.slop=1"], "options.slop is not a field. Did you mean slope?"),
        (["options.slope=steep"], "options.slope must be a number; found 'steep'"),
        (["options=3"], "options must be fields with values; found 3"),
        (["task=lin"], "task='lin' is not known. Did you mean line?"),
        (["task="], "must name its task. Known: "),
        (["folder="], "folder must be text"),
        (["train.lr=[1"], "is not YAML"),
    ],
)
def test_a_wrong_change_is_said_before_anything_starts(changes, said, here):
    code, output = course("line.yaml", *(part for change in changes for part in ("--set", change)))
    assert code == 1 and said in output
    assert "Traceback" not in output and not (here / "runs").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("task: line\ntask: line\n", "line 2: task stands there twice"),
        ("task: line\ntrain: {steps: 1, steps: 2}\n", "line 2: steps stands there twice"),
        ("task: [line", "is not YAML"),
        ("- task", "must be fields with values"),
        ("", "must be fields with values"),
        ("task: line\nsteps: 3\n", "steps is not a field of wrong.yaml. Did you mean train.steps?"),
        ("options: {}\n", "must name its task"),
        ("task: line\n", "train.steps is missing"),
    ],
)
def test_a_wrong_file_is_said(text, said, here):
    (here / "wrong.yaml").write_text(text, "utf-8")
    code, output = course("wrong.yaml")
    assert code == 1 and said in output


def test_a_name_that_is_not_there_brings_the_nearest(here, monkeypatch):
    monkeypatch.setattr(recipe, "FOLDER", here)
    assert recipe.find("line") == here / "line.yaml"
    with pytest.raises(ConfigError, match="Did you mean line"):
        recipe.find("lin")


@pytest.mark.parametrize("name", recipe.names())
def test_every_configuration_of_the_course_can_be_read(name):
    assert recipe.read(name).task in tasks.names()


def test_an_interrupted_run_says_how_to_go_on(monkeypatch):
    def stop(*arguments, **settings):
        raise KeyboardInterrupt("Stopped after step 3.")

    monkeypatch.setattr(recipe, "fit", stop)
    code, said = course("line.yaml", "--set", "options.slope=2")
    assert code == 130
    assert "Stopped after step 3." in said and "course train line.yaml --set options.slope=2 --resume" in said


def test_a_loss_that_is_not_finite_is_said_without_a_traceback():
    code, said = course("line.yaml", "--set", "options.broken=true")
    assert code == 1 and "step 1" in said and "Traceback" not in said


def test_of_several_processes_one_speaks(monkeypatch):
    real = recipe.fit

    def second(*arguments, **settings):
        result = real(*arguments, **settings)
        result.rank = 1
        return result

    monkeypatch.setattr(recipe, "fit", second)
    code, said = course("line.yaml")
    assert code == 0 and "Kept in" not in said


def test_checkpoints_that_are_all_damaged_are_said():
    course("line.yaml")
    for file in Path("runs/line").glob("step-*/model.safetensors"):
        file.write_bytes(b"nonsense")
    code, said = course("line.yaml", "--resume")
    assert code == 1 and "model.safetensors" in said and "Traceback" not in said


def test_what_could_not_be_saved_makes_the_command_fail(monkeypatch):
    real = recipe.fit

    def unsaved(*arguments, **settings):
        result = real(*arguments, **settings)
        result.unsaved = ["step 200: No space left on device"]
        return result

    monkeypatch.setattr(recipe, "fit", unsaved)
    code, said = course("line.yaml")
    assert code == 1 and "No space left on device" in said
