"""How the library `transformers` writes down a model of ours: a table for each kind, read in both directions.

A file of lib/zoo registers a `Layout` beside its specification. lib/load.py reads folders by it, and lib/save.py
writes them.

    fields      ours -> theirs, in config.json. A name, several names that must agree, or a `Rule` of two functions
    keys        (ours, theirs, how) for modules: "blocks.{}.mix.q", "transformer.h.{}.attn.c_attn", columns(0, 3)
    heads       a class in their library -> the value of our slot `head`, and its keys

`{}` is a block's number. A parameter's last word, weight or bias, is the same for both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import NoneType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.layers.embed import rotary, stretched
from lib.layers.ff import gelu_tanh
from lib.layers.pos import Position, dynamic, linear, llama3
from lib.shapes import require
from lib.spec import Spec, diff, family

# --- how a tensor is laid out ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class How:
    """read(theirs) -> ours; write([ours, ...]) -> theirs: all that one tensor holds, in the order of `keys`."""

    read: Callable[[Tensor], Tensor]
    write: Callable[[Sequence[Tensor]], Tensor]


Keys = tuple[tuple[Any, ...], ...]
"""(ours, theirs, how), or (ours, theirs) where how is `same`."""

same = How(lambda t: t, lambda parts: parts[0])


def columns(i: int, n: int) -> How:
    """The i-th of n equal parts of a matrix that is stored as inputs x outputs, or of its bias: GPT-2's layers."""

    def turned(t: Tensor) -> Tensor:
        return t.mT if t.dim() == 2 else t

    return How(lambda t: turned(t.chunk(n, dim=-1)[i]), lambda parts: torch.cat([*map(turned, parts)], dim=-1))


def rows_from(n: int) -> How:
    """A table whose first n rows are never looked up; written as zeros."""
    return How(lambda t: t[n:], lambda parts: torch.cat([parts[0].new_zeros(n, *parts[0].shape[1:]), parts[0]]))


OLDER = {"gamma": "weight", "beta": "bias"}
"""What the parameters of norms are called in checkpoints of 2018 and 2019, which were made by TensorFlow."""


def within(ours: str, theirs: str, keys: Keys) -> Keys:
    """The same keys, with a beginning for ours and one for theirs."""
    return tuple(((ours + mine).rstrip("."), theirs + other, *how) for mine, other, *how in keys)


# --- how a field is written ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """theirs: the names it uses. read(config) -> our value; write(our value, spec) -> entries of theirs."""

    theirs: tuple[str, ...]
    read: Callable[[Mapping[str, Any]], Any]
    write: Callable[[Any, Spec], dict[str, Any]]


def equal(*theirs: str) -> Rule:
    """A number that they keep under this name, or under several that must all hold the same."""

    def read(config: Mapping[str, Any]) -> Any:
        found = {name: config[name] for name in theirs}
        agree = all(value == found[theirs[0]] for value in found.values())
        require(agree, f"these fields must be the same number, since ours is one: {found}")
        return found[theirs[0]]

    return Rule(theirs, read, lambda value, spec: dict.fromkeys(theirs, value))


def one_of(theirs: str, values: Mapping[Any, Any]) -> Rule:
    """A choice that they keep by name."""

    def read(config: Mapping[str, Any]) -> Any:
        require(
            config[theirs] in values, f"{theirs} is {config[theirs]!r}, but ours are {', '.join(map(repr, values))}"
        )
        return values[config[theirs]]

    def write(value: Any, spec: Spec) -> dict[str, Any]:
        names = [name for name, each in values.items() if each is value]
        require(bool(names), f"their {theirs} has no name for {value}")
        return {theirs: names[0]}

    return Rule((theirs,), read, write)


ACTS = {"gelu": F.gelu, "gelu_new": gelu_tanh, "gelu_pytorch_tanh": gelu_tanh, "relu": F.relu, "silu": F.silu}


def _rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a config.json says of rotary positions; it has been kept in three fields, of which newer ones count."""
    return {"rope_theta": config["rope_theta"], **(config["rope_scaling"] or {}), **(config["rope_parameters"] or {})}


def _turn(config: Mapping[str, Any]) -> Callable[[Spec], Position]:
    told = _rope(config) | {"max_position_embeddings": config["max_position_embeddings"]}
    kind = told.get("rope_type", told.get("type", "default"))
    require(kind in SCALINGS, f"rope_type is {kind!r}, but ours are {', '.join(SCALINGS)}")
    scaling, names = SCALINGS[kind]
    lacking = [name for name in names if name not in told]
    require(not lacking, f"a rope_type of {kind!r} needs {', '.join(lacking)}")
    extra = set(told) - {"rope_type", "type", "rope_theta", "max_position_embeddings", *names}
    require(not extra, f"unknown fields for a rope_type of {kind!r}: {', '.join(sorted(extra))}")
    return stretched(scaling(*(told[name] for name in names))) if scaling else rotary


def _write_turn(turn: Any, spec: Spec) -> dict[str, Any]:
    scaling = getattr(turn, "scaling", None)
    kinds = [kind for kind, (made, _) in SCALINGS.items() if (type(scaling) is made if scaling else made is None)]
    require(bool(kinds) and (scaling is not None or turn is rotary), f"they have no name for turn={turn}")
    told = dict(zip(SCALINGS[kinds[0]][1], vars(scaling).values(), strict=True)) if scaling else {}
    length = told.pop("max_position_embeddings", spec.n_positions)
    require(length == spec.n_positions, f"theirs takes n_positions={spec.n_positions} for {scaling}'s n_trained")
    return {"rope_parameters": {"rope_type": kinds[0], **told}}


SCALINGS: dict[str, tuple[Callable[..., Any] | None, tuple[str, ...]]] = {
    "default": (None, ()),
    "linear": (linear, ("factor",)),
    "dynamic": (dynamic, ("factor", "max_position_embeddings")),
    "llama3": (llama3, ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")),
}
"""rope_type -> our scaling and what its fields are called, in order."""

ROPE = ("rope_parameters", "rope_scaling", "rope_theta")
BASE = Rule(
    ROPE, lambda config: _rope(config)["rope_theta"], lambda base, spec: {"rope_parameters": {"rope_theta": base}}
)
TURN = Rule((*ROPE, "max_position_embeddings"), _turn, _write_turn)
GROUPS = Rule(
    ("num_key_value_heads", "num_attention_heads"),
    lambda config: {config["num_attention_heads"]: None}.get(n := config["num_key_value_heads"], n),
    lambda n, spec: {"num_key_value_heads": n or spec.n_heads},
)


def _width(config: Mapping[str, Any]) -> int:
    d, H, D = (config[name] for name in WIDTH.theirs)
    require(D in (None, d // H), f"head_dim is {D}, but ours are hidden_size / num_attention_heads = {d // H} wide")
    return d


WIDTH = Rule(("hidden_size", "num_attention_heads", "head_dim"), _width, lambda d, spec: {"hidden_size": d})

CLASSES = Rule(
    ("id2label", "label2id", "num_labels"),
    lambda config: len(config["id2label"]) if config.get("id2label") else config.get("num_labels", 2),
    lambda n, spec: {
        "id2label": {str(i): f"LABEL_{i}" for i in range(n)},
        "label2id": {f"LABEL_{i}": i for i in range(n)},
    },
)

HARMLESS = (
    "_name_or_path", "_num_labels", "architectures", "bos_token_id", "chunk_size_feed_forward", "dtype", "eos_token_id",
    "finetuning_task", "gradient_checkpointing", "language", "model_type", "output_attentions", "output_hidden_states",
    "output_past", "pad_token_id", "problem_type", "return_dict", "sep_token_id", "task_specific_params",
    "tie_word_embeddings", "torch_dtype", "transformers_version", "use_cache",
)  # fmt: skip
"""Fields of any config.json that change no number which a model computes; tying has its place in `Head`."""

# --- a kind of model -------------------------------------------------------------------------------------------------

NUMBERS = {bool: (bool,), int: (int,), float: (float, int), NoneType: (int, NoneType)}
"""The type of a field's value in a layout's specification -> those that a config.json may have."""
FREE = ("n_source", "attend", "init", "head", "n_classes")
"""Fields of a specification that a layout need not hold: they change no number, or stand in the head."""


@dataclass(frozen=True)
class Head:
    """A class in their library, and what it is in ours. tied: what its config.json says of tie_word_embeddings."""

    architecture: str
    value: Callable[[Spec], nn.Module]
    keys: Keys = ()
    tied: bool | None = None


@dataclass(frozen=True)
class Layout:
    """A kind of model, as its config.json and its tensors have it.

    base: their class without a head, whose tensors lack `prefix`. fixed: fields that must have this value, for ours do
    not have another; it is what their library takes where the field is absent. absent: what the other fields are then.
    harmless: fields that change no number; dropped: tensors that ours does not need; in both, * is anything.
    """

    model_type: str
    spec: Spec
    base: str
    prefix: str
    fields: Mapping[str, str | Rule]
    keys: Keys
    heads: tuple[Head, ...]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    absent: Mapping[str, Any] = field(default_factory=dict)
    harmless: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    def read(self, config: Mapping[str, Any], architecture: str) -> tuple[Spec, Head]:
        """The specification and the head that a config.json describes. ValueError for what ours does not do."""
        rules, config = self._rules(), {"tie_word_embeddings": True, **self.absent, **config}
        used = {name for rule in rules.values() for name in rule.theirs}
        known = {*used, *self.fixed, *CLASSES.theirs}
        harmless = HARMLESS + self.harmless
        unknown = sorted(name for name in set(config) - known if not any(fnmatchcase(name, each) for each in harmless))
        require(not unknown, f"unknown fields, which may change what the model computes: {', '.join(unknown)}")
        for name, value in self.fixed.items():
            found = config.get(name, value)
            require(found == value, f"{name} is {found!r}, but ours has {value!r} and nothing else")
        lacking = sorted(used - set(config))
        require(not lacking, f"it lacks {', '.join(lacking)}")
        changes = {ours: rule.read(config) for ours, rule in rules.items()}
        for name, value in changes.items():
            kinds = NUMBERS.get(type(getattr(self.spec, name)), (type(value),))
            fields = ", ".join(rules[name].theirs)
            require(type(value) in kinds, f"{fields} should be of type {kinds[0].__name__}, not {value!r}")
        head = self._head(architecture, config["tie_word_embeddings"])
        return self.spec.but(**changes, head=head.value, n_classes=CLASSES.read(config)), head

    def write(self, spec: Spec) -> tuple[dict[str, Any], Head]:
        """What config.json says of a specification. ValueError for what it cannot say."""
        heads = [head for head in self.heads if head.value is spec.head]
        require(bool(heads), f"their {self.model_type} has no head like {spec.head}")
        config: dict[str, Any] = {"model_type": self.model_type, "architectures": [heads[0].architecture]}
        for ours, rule in self._rules().items():
            for name, value in rule.write(getattr(spec, ours), spec).items():
                config[name] = config.get(name, {}) | value if isinstance(value, dict) else value
        if spec.n_classes != self.spec.n_classes:
            config |= CLASSES.write(spec.n_classes, spec)
        if heads[0].tied is not None:
            config["tie_word_embeddings"] = heads[0].tied
        again, _ = self.read(config, heads[0].architecture)
        lost = diff(again.but(**{name: getattr(spec, name) for name in FREE}), spec)
        require(not lost.sizes and not lost.choices, f"their {self.model_type} cannot hold this model:\n{lost}")
        return config, heads[0]

    def match(self, ours: Sequence[str], head: Head) -> dict[str, list[tuple[str, How]]]:
        """Each tensor of theirs, with its prefix -> the parameters of ours in it, each of which must have one place."""
        entries = [("body." + entry[0], *entry[1:]) for entry in self.keys]
        entries += [("head." + entry[0] if entry[0] else "head", *entry[1:]) for entry in head.keys]
        found: dict[str, list[tuple[str, How]]] = {}
        order = {}
        for name in ours:
            module, _, leaf = name.rpartition(".")
            places = []
            for i, entry in enumerate(entries):
                mine, theirs, how = entry if len(entry) == 3 else (*entry, same)
                numbers = re.fullmatch(re.escape(mine).replace(r"\{\}", r"(\d+)"), module)
                if numbers:
                    places.append((i, f"{theirs.format(*numbers.groups())}.{leaf}", how))
            require(len(places) == 1, f"{name} has {len(places)} places in the map of {self.model_type}, not one")
            order[name], theirs, how = places[0]
            found.setdefault(theirs, []).append((name, how))
        return {theirs: sorted(parts, key=lambda part: order[part[0]]) for theirs, parts in found.items()}

    def drops(self, theirs: str) -> bool:
        """Whether ours has no use for this tensor: listed, or part of another head than the one that is read."""
        others = [f"{entry[1]}.{leaf}" for head in self.heads for entry in head.keys for leaf in ("weight", "bias")]
        return any(fnmatchcase(theirs, each) for each in (*self.dropped, *others))

    def name(self, theirs: str, head: Head) -> str:
        """What a tensor is called in a file of that class."""
        return theirs.removeprefix(self.prefix) if head.architecture == self.base else theirs

    def _rules(self) -> dict[str, Rule]:
        return {ours: equal(rule) if isinstance(rule, str) else rule for ours, rule in self.fields.items()}

    def _head(self, architecture: str, tied: bool) -> Head:
        known = ", ".join(dict.fromkeys(head.architecture for head in self.heads))
        fits = [head for head in self.heads if head.architecture == architecture]
        require(bool(fits), f"the architecture {architecture!r} is not known; of {self.model_type} there are {known}")
        fits = [head for head in fits if head.tied in (None, tied)]
        require(bool(fits), f"{architecture} with tie_word_embeddings={tied} is not known")
        return fits[0]


_layouts: dict[str, Layout] = {}


def register(layout: Layout) -> Layout:
    """Make a layout known. ValueError where there is one for its model_type."""
    require(layout.model_type not in _layouts, f"there is a layout for {layout.model_type!r} already")
    _layouts[layout.model_type] = layout
    return layout


def layouts() -> dict[str, Layout]:
    """Every layout in lib/zoo, by model_type."""
    family()
    return dict(sorted(_layouts.items()))


def layout_of(spec: Spec) -> Layout:
    """The layout of a specification's own kind, or of its nearest ancestor that has one."""
    by_name = {layout.spec.name: layout for layout in layouts().values()}
    found = nearest(spec, by_name)
    require(bool(found), f"{spec.name} has no layout in transformers; there are layouts of {', '.join(by_name)}")
    return by_name[found]


def nearest(spec: Spec, names: Collection[str]) -> str:
    """The name of a specification, or of its nearest ancestor, that is among `names`; "" where none is."""
    known, name, parent = family(), spec.name, spec.parent
    while name not in names and name:
        name, parent = parent, known[parent].parent if parent else ""
    return name
