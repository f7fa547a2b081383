"""What `course train` runs: a small YAML file that names a task, its options and the settings of the loop.

    task: mnist_lenet             a module of lib/tasks
    options: {width: 32}          fields of that task's Options; may be left out
    train: {steps: 500, lr: 0.1}  fields of lib.train.TrainConfig
    folder: runs/mine             where checkpoints and metrics go; runs/<name of the file> where left out

Every field is checked before anything starts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lib import ROOT, seed, tasks
from lib.train import ConfigError, Result, Task, TrainConfig, build, fit
from lib.train.config import nearest
from lib.train.weights import gather

FOLDER = ROOT / "configs"
FIELDS = ("task", "options", "train", "folder")


@dataclass(frozen=True)
class Recipe:
    """A checked configuration; `options` is an instance of the task's Options."""

    task: str
    options: Any
    train: TrainConfig
    folder: Path

    def make(self) -> Task:
        """The model with its first weights, and its data: the seed decides both."""
        seed(self.train.seed)
        task = tasks.find(self.task).build(self.options, self.train.seed)
        return replace(task, options={"task": self.task, **asdict(self.options)})


def read(config: str, changes: Iterable[str] = ()) -> Recipe:
    """The recipe in a file, or of a name in `configs/`; `changes` are "key=value" and win over the file.

    Raises ConfigError at a file that is not there or not YAML, and at any field that cannot be used.
    """
    path = find(config)
    values = parse(path.read_text("utf-8"), str(path))
    for change in changes:
        _change(values, change)
    for name in values:
        if name not in FIELDS:
            raise ConfigError(f"{name} is not a field of {path.name}.{_place(name)}")
    if not isinstance(values.get("task"), str):
        raise ConfigError(f"{path.name} must name its task. Known: {', '.join(tasks.names())}.")
    folder = values.get("folder", f"runs/{path.stem}")
    if not isinstance(folder, str) or not folder:
        raise ConfigError(f"folder must be text; found {folder!r}.")
    options = build(tasks.find(values["task"]).Options, values.get("options") or {}, "options")
    return Recipe(values["task"], options, build(TrainConfig, values.get("train") or {}, "train"), Path(folder))


def find(config: str) -> Path:
    """The file of that path, or `configs/<name>.yaml`."""
    for path in (Path(config), FOLDER / f"{config}.yaml"):
        if path.is_file():
            return path
    raise ConfigError(f"There is no file {config}, and no configuration of that name.{nearest(config, names())}")


def names() -> list[str]:
    """The configurations in `configs/`."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def parse(text: str, where: str) -> dict[str, Any]:
    """The mapping in a YAML text; ConfigError where it is not one, or has a key twice, with its line."""
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        _no_key_twice(node, where)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where} is not YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{where} must be fields with values, such as `task: {tasks.names()[0]}`.")
    return values


def _no_key_twice(node: Any, where: str) -> None:
    """YAML readers keep the last of two equal keys and say nothing; here that is an error."""
    import yaml

    if not isinstance(node, yaml.MappingNode):
        return
    seen = set()
    for key, value in node.value:
        if key.value in seen:
            raise ConfigError(f"{where}, line {key.start_mark.line + 1}: {key.value} stands there twice.")
        seen.add(key.value)
        _no_key_twice(value, where)


def _change(values: dict[str, Any], change: str) -> None:
    """Apply one "train.lr=0.1"; the value is read as YAML."""
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {change}: write key=value, such as train.lr=0.1.")
    parts = key.split(".")
    if parts[0] not in FIELDS:
        raise ConfigError(f"--set {change}: {parts[0]} is not a field.{_place(parts[0])}")
    value = parse(f"value: {text}", f"--set {change}")["value"]
    for part in parts[:-1]:
        if not isinstance(values.get(part), Mapping):
            values[part] = {}
        values = values[part]
    values[parts[-1]] = value


def _place(name: str) -> str:
    """Where a field that stands at the wrong place belongs, or the nearest right name."""
    if name in TrainConfig.__dataclass_fields__:
        return f" Did you mean train.{name}?"
    return nearest(name, FIELDS)


def train(recipe: Recipe, resume: bool = False, allow_changes: bool = False) -> Result:
    """Run a recipe; what its task exports lies then in `model` in its folder."""
    task = recipe.make()
    result = fit(task, recipe.train, recipe.folder, resume=resume, allow_changes=allow_changes)
    export = getattr(tasks.find(recipe.task), "export", None)
    if export and recipe.train.strategy == "fsdp":
        gather(task.model)
    if export and not result.rank:
        try:
            export(task.model, recipe.options, recipe.folder / "model")
        except OSError as error:
            result.unsaved.append(f"{recipe.folder / 'model'}: {error.strerror or error}")
    return result


def tokenizer(recipe: Recipe) -> Path:
    """Train the tokenizer of a recipe, and write it where its options say. ConfigError where one is there already."""
    train = getattr(tasks.find(recipe.task), "train_tokenizer", None)
    if train is None:
        raise ConfigError(f"task={recipe.task!r} has no tokenizer to train.")
    path = Path(recipe.options.tokenizer)
    if path.exists():
        raise ConfigError(f"{path} is there already, and a model may need it. Delete it, or set options.tokenizer.")
    path.parent.mkdir(parents=True, exist_ok=True)
    train(recipe.options).save(path)
    return path
