"""Settings as frozen dataclasses, made from what a user wrote: each field is checked before anything starts.

    build(TrainConfig, {"steps": 1000, "lr": "1e-3"}, "train")

An unknown field, a wrong type or a value out of range raises ConfigError, which names the field, what was found, what
was expected and, for a misspelt name, the nearest right one.
"""

from __future__ import annotations

import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

T = TypeVar("T")


class ConfigError(ValueError):
    """A setting that cannot be used; the text says which, and what would do."""


def number(
    default: Any = MISSING,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
) -> Any:
    """A dataclass field, or each number in it, that lies in [least, most] and strictly between `above` and `below`."""
    return field(default=default, metadata={"at least": least, "at most": most, "above": above, "below": below})


@dataclass(frozen=True)
class TrainConfig:
    """Every setting of the loop. The batch is the global one: all processes and all accumulated parts together."""

    steps: int = number(least=1)
    """Updates of the parameters."""
    batch: int = number(64, least=1)
    accumulate: int = number(1, least=1)
    """Parts that a process cuts its share of the batch into, one after the other, to save memory."""
    optimizer: Literal["adamw", "sgd", "muon"] = "adamw"
    """AdamW, SGD with Nesterov momentum, or Muon with AdamW for what is no matrix of a block: lib/train/muon.py."""
    lr: float = number(1e-3, above=0)
    """The highest rate."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the rate falls after the warm-up."""
    warmup: int = number(0, least=0)
    """Steps in which the rate climbs in a straight line to `lr`."""
    lr_end: float = number(0.0, least=0, most=1)
    """The last rate, as a fraction of `lr`."""
    weight_decay: float = number(0.0, least=0)
    """On parameters of two dimensions or more; never on biases and norms."""
    betas: tuple[float, float] = number((0.9, 0.999), least=0, below=1)
    """Of AdamW, also where it works beside Muon."""
    momentum: float = number(0.9, least=0, below=1)
    """Of SGD and Muon."""
    clip: float | None = number(None, above=0)
    """Largest norm of all gradients together; none where empty."""
    eval_every: int = number(0, least=0)
    """Steps between evaluations; 0: at the end alone."""
    save_every: int = number(0, least=0)
    """Steps between checkpoints; 0: at the end alone."""
    patience: int = number(0, least=0)
    """Evaluations without a better watched metric after which the run stops; 0: never."""
    seed: int = number(0, least=0)
    accelerator: str = "auto"
    devices: int = number(1, least=1)
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true"] = "32-true"
    compile: bool = False

    def __post_init__(self) -> None:
        for f in fields(self):  # also where the configuration was made by hand
            _in_range(getattr(self, f.name), f.metadata, f.name)
        if self.batch % (self.accumulate * self.devices):
            raise ConfigError(
                f"batch={self.batch} cannot be shared evenly among devices={self.devices} with "
                f"accumulate={self.accumulate}: choose a multiple of {self.accumulate * self.devices}."
            )
        if self.optimizer == "muon" and self.strategy == "fsdp":
            raise ConfigError("optimizer='muon' needs whole matrices, and strategy='fsdp' shares them out: use 'ddp'.")
        if self.warmup > self.steps:
            raise ConfigError(f"warmup={self.warmup} is longer than the whole run of steps={self.steps}.")


def build(cls: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """An instance of a dataclass from a mapping of its fields; `where` is the path to it, for messages."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where or 'The configuration'} must be fields with values; found {values!r}.")
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]  # cls is a dataclass
    hints = typing.get_type_hints(cls)
    path = f"{where}." if where else ""
    for name in values:
        if name not in known:
            raise ConfigError(f"{path}{name} is not a field.{nearest(name, known)}")
    made = {}
    for name, value in values.items():
        made[name] = _converted(value, hints[name], f"{path}{name}")
        _in_range(made[name], known[name].metadata, f"{path}{name}")
    for name, f in known.items():
        if name not in made and f.default is MISSING and f.default_factory is MISSING:
            raise ConfigError(f"{path}{name} is missing: it has no default.")
    return cls(**made)


def nearest(name: object, known: Iterable[str]) -> str:
    """A sentence that names the nearest of the known names, or all of them where none is near."""
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    return f" Did you mean {near[0]}?" if near else f" Known: {', '.join(names)}."


def _converted(value: Any, hint: Any, where: str) -> Any:
    """The value as the type the field asks for; ConfigError where it is something else."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{where}={value!r} is not known.{nearest(value, map(str, arguments))}")
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _converted(value, next(a for a in arguments if a is not type(None)), where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where} must be a list; found {value!r}.")
        if arguments[-1] is Ellipsis:
            arguments = (arguments[0],) * len(value)
        if len(value) != len(arguments):
            raise ConfigError(f"{where} must have {len(arguments)} values; found {len(value)}: {value!r}.")
        return tuple(_converted(v, a, f"{where}[{i}]") for i, (v, a) in enumerate(zip(value, arguments, strict=True)))
    return _plain(value, hint, where)


_WANTED = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def _plain(value: Any, hint: Any, where: str) -> Any:
    """One Boolean, number or text."""
    if hint is float and isinstance(value, str):  # YAML reads 1e-3, without a point, as text
        try:
            value = float(value)
        except ValueError:
            pass
    if hint is float and type(value) is int:
        value = float(value)
    if type(value) is not hint:
        raise ConfigError(f"{where} must be {_WANTED[hint]}; found {value!r}, which is {type(value).__name__}.")
    return value


def _in_range(value: Any, bounds: Mapping[str, float], where: str) -> None:
    """ConfigError where a number, or one in a tuple, is not finite or out of its bounds."""
    for each in value if isinstance(value, tuple) else (value,):
        if isinstance(each, bool) or not isinstance(each, (int, float)):
            continue
        if not math.isfinite(each):
            raise ConfigError(f"{where}={each} is not a finite number.")
        if bounds and not (
            bounds["at least"] <= each <= bounds["at most"] and bounds["above"] < each < bounds["below"]
        ):
            said = " and ".join(f"{word} {limit:g}" for word, limit in bounds.items() if math.isfinite(limit))
            raise ConfigError(f"{where}={each} is out of range: it must be {said}.")
