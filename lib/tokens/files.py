"""tokenizer.json, the Hugging Face format: what one library saves, the other loads, with the same ids.

The format can say more than this library does. What it cannot do, it refuses by name; nothing is read and then ignored.
A file is text (JSON) and never code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import files
from lib.tokens.added import Added
from lib.tokens.layout import Padding, Template, Truncation

if TYPE_CHECKING:
    from lib.tokens.base import Tokenizer

ANY = object()
"""For `settle`: a setting that changes nothing here."""

STEPS = {"normalizer": "normalizers", "pre_tokenizer": "pretokenizers", "decoder": "decoders"}
STEPS |= {"post_processor": "processors"}
"""What a Sequence calls its steps, in each section of the file."""

STRATEGIES = {"LongestFirst": "longest_first", "OnlyFirst": "only_first", "OnlySecond": "only_second"}


def save(tokenizer: Tokenizer, path: str | os.PathLike[str]) -> None:
    """Write a tokenizer. The file gets its name once it is whole, so that a reader never sees half of one."""
    files.put(Path(path), json.dumps(content(tokenizer), ensure_ascii=False, indent=2).encode())


def need(section: Any, key: str, where: str) -> Any:
    """An entry that has to be there."""
    if not isinstance(section, dict) or key not in section:
        raise ValueError(f"{where} has no {key!r}.")
    return section[key]


def settle(section: dict[str, Any] | None, where: str, **known: Any) -> None:
    """Raise ValueError unless each setting has the one value this library implements; one left out counts as it."""
    for key, value in (section or {}).items():
        if key not in known or (known[key] is not ANY and value != known[key]):
            meant = f", only {known[key]!r}" if key in known else ""
            raise ValueError(f"{where} has {key} = {json.dumps(value)[:60]}, which lib.tokens does not do{meant}.")


def flag(section: dict[str, Any], key: str, where: str, default: bool = False) -> bool:
    """A setting that is true or false."""
    value = section.get(key, default)
    if not isinstance(value, bool):
        raise ValueError(f"{where}.{key} should be true or false; it is {json.dumps(value)[:60]}.")
    return value


def parts(saved: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """The steps of a section: none where it is null, several where it is a Sequence."""
    section = saved.get(where)
    if isinstance(section, dict) and section.get("type") == "Sequence":
        return [step for part in need(section, STEPS[where], where) for step in parts({where: part}, where)]
    return [section] if section else []


def pairs(model: dict[str, Any]) -> list[tuple[str, str]]:
    """The merges of a model."""
    merges = []
    for rank, pair in enumerate(need(model, "merges", "model")):
        halves = pair.split(" ") if isinstance(pair, str) else pair  # the older form of the file, and the newer
        if len(halves) != 2:
            raise ValueError(f"Merge {rank} should be two pieces; it is {pair!r}.")
        merges.append((halves[0], halves[1]))
    return merges


def by_id(vocabulary: Any, added: dict[str, int]) -> list[str]:
    """Pieces in order of their ids, from a map of pieces and the added tokens. Ids have to be 0, 1, 2 and so on."""
    if not isinstance(vocabulary, dict):
        raise ValueError("model.vocab should map each piece to its id.")
    ids = vocabulary | added
    for piece, id in added.items():
        if vocabulary.get(piece, id) != id:
            raise ValueError(f"The added token {piece!r} has id {id}, but model.vocab gives it {vocabulary[piece]}.")
    pieces = sorted(ids, key=ids.__getitem__)
    if [ids[piece] for piece in pieces] != list(range(len(pieces))):
        raise ValueError(f"The ids of {len(pieces)} pieces should be 0 to {len(pieces) - 1}, each once; they are not.")
    return pieces


FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


def added_token(token: dict[str, Any], vocabulary: Collection[str]) -> tuple[Added, int]:
    """A special token and its id; `vocabulary` is the model's own."""
    piece, id = need(token, "content", "An added token"), need(token, "id", "An added token")
    settle(token, f"The added token {piece!r}", content=ANY, id=ANY, **dict.fromkeys(FLAGS, ANY))
    flags = {name: bool(token.get(name)) for name in FLAGS}
    return Added(piece, behind=piece not in vocabulary, **flags), id


def shared(saved: dict[str, Any], specials: list[Added]) -> dict[str, Any]:
    """What every kind has: the arguments of Tokenizer."""
    return {
        "specials": specials,
        "template": template(saved),
        "truncation": truncation(saved.get("truncation")),
        "padding": padding(saved.get("padding")),
    }


def template(saved: dict[str, Any]) -> Template | None:
    """The template that a post-processor stands for."""
    found = [part for part in parts(saved, "post_processor") if need(part, "type", "post_processor") != "ByteLevel"]
    if len(found) > 1:
        raise ValueError("post_processor has several templates in a row; lib.tokens does one.")
    if not found:
        return None
    (section,) = found
    if section["type"] in ("BertProcessing", "RobertaProcessing"):
        sep, cls = (need(section, key, "post_processor")[0] for key in ("sep", "cls"))
        pair = f"{sep} $B:1 {sep}:1" if section["type"] == "BertProcessing" else f"{sep} {sep} $B {sep}"
        return Template(f"{cls} $A {sep}", f"{cls} $A {pair}")
    if section["type"] != "TemplateProcessing":
        known = "TemplateProcessing, BertProcessing, RobertaProcessing and ByteLevel"
        raise ValueError(f"post_processor is {section['type']!r}; lib.tokens reads {known}.")
    return Template(*(_words(need(section, key, "post_processor")) for key in ("single", "pair")))


def _words(items: list[dict[str, Any]]) -> str:
    words = []
    for item in items:
        ((kind, value),) = item.items()
        words.append(f"{'$' if kind == 'Sequence' else ''}{value['id']}:{value['type_id']}")
    return " ".join(words)


def truncation(saved: dict[str, Any] | None) -> Truncation | None:
    """What the file says of truncation."""
    if saved is None:
        return None
    length, strategy = need(saved, "max_length", "truncation"), need(saved, "strategy", "truncation")
    if strategy not in STRATEGIES:
        raise ValueError(f"truncation.strategy is {strategy!r}; known are {', '.join(STRATEGIES)}.")
    settle(saved, "truncation", max_length=ANY, strategy=ANY, direction=ANY, stride=ANY)
    side, stride = saved.get("direction", "Right").lower(), saved.get("stride", 0)
    return Truncation(length, STRATEGIES[strategy], side, stride)


def padding(saved: dict[str, Any] | None) -> Padding | None:
    """What the file says of padding."""
    if saved is None:
        return None
    strategy, piece = need(saved, "strategy", "padding"), need(saved, "pad_token", "padding")
    length = None if strategy == "BatchLongest" else need(strategy, "Fixed", "padding.strategy")
    side, multiple = saved.get("direction", "Right").lower(), saved.get("pad_to_multiple_of")
    return Padding(piece, length, side, multiple, saved.get("pad_type_id", 0))


def content(tokenizer: Tokenizer) -> dict[str, Any]:
    """The whole file, as a dictionary."""
    cut, fill = tokenizer.truncation, tokenizer.padding
    return {
        "version": "1.0",
        "truncation": cut
        and {
            "direction": cut.side.capitalize(),
            "max_length": cut.length,
            "strategy": next(theirs for theirs, ours in STRATEGIES.items() if ours == cut.strategy),
            "stride": cut.stride,
        },
        "padding": fill
        and {
            "strategy": "BatchLongest" if fill.length is None else {"Fixed": fill.length},
            "direction": fill.side.capitalize(),
            "pad_to_multiple_of": fill.multiple,
            "pad_id": tokenizer.id_of(fill.piece),
            "pad_type_id": fill.kind,
            "pad_token": fill.piece,
        },
        "added_tokens": [
            {"id": tokenizer.id_of(text), "content": text, **{name: getattr(token, name) for name in FLAGS}}
            for text, token in tokenizer.added.items()
        ],
        "post_processor": post_processor(tokenizer),
        **tokenizer._file(),
    }


def post_processor(tokenizer: Tokenizer) -> dict[str, Any]:
    """The template, as the file has it."""

    def items(side: list[tuple[str, int]]) -> list[dict[str, Any]]:
        return [
            {"Sequence" if name in ("$A", "$B") else "SpecialToken": {"id": name.removeprefix("$"), "type_id": kind}}
            for name, kind in side
        ]

    return {
        "type": "TemplateProcessing",
        "single": items(tokenizer.template.single),
        "pair": items(tokenizer.template.pair),
        "special_tokens": {
            name: {"id": name, "ids": [tokenizer.id_of(name)], "tokens": [name]} for name in tokenizer.template.names()
        },
    }
