"""What `course train` can train: one module for each task, found by its name.

A task's module has

    Options                           a frozen dataclass: the task's own settings, each with a default
    build(options, seed) -> Task      the model, the data and the loss

and, where it has use for them,

    train_tokenizer(options)          the tokenizer that `course tokenizer` writes to options.tokenizer
    export(model, options, folder)    write the trained model for others to read
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from lib.train.config import ConfigError, nearest


def names() -> list[str]:
    """Every task there is."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def find(name: str) -> ModuleType:
    """The module of a task; ConfigError where there is none of that name."""
    if name not in names():
        raise ConfigError(f"task={name!r} is not known.{nearest(name, names())}")
    return importlib.import_module(f"lib.tasks.{name}")
