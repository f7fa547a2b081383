"""tokenizer.json, the Hugging Face format: what one library saves, the other loads, with the same ids.

The format can say more than this library does. What it cannot do, it refuses by name; nothing is read and then ignored.
A file is text (JSON) and never code.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.tokens.layout import Padding, Template, Truncation

if TYPE_CHECKING:
    from lib.tokens.base import Tokenizer

ANY = object()
"""For `settle`: a setting that changes nothing here."""

STRATEGIES = {"LongestFirst": "longest_first", "OnlyFirst": "only_first", "OnlySecond": "only_second"}


def save(tokenizer: Tokenizer, path: str | os.PathLike[str]) -> None:
    """Write a tokenizer. The file gets its name once it is whole, so that a reader never sees half of one."""
    path = Path(path)
    text = json.dumps(content(tokenizer), ensure_ascii=False, indent=2)
    half = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(half, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(half, path)
    except BaseException:
        half.unlink(missing_ok=True)
        raise


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


def added_token(token: dict[str, Any], normalized: Any = False) -> tuple[str, int]:
    """A special token and its id. Where there is no normaliser, `normalized` may be anything."""
    piece, id = need(token, "content", "An added token"), need(token, "id", "An added token")
    plain = {"content": ANY, "id": ANY, "single_word": False, "lstrip": False, "rstrip": False}
    settle(token, f"The added token {piece!r}", **plain, normalized=normalized, special=True)
    return piece, id


def shared(saved: dict[str, Any], specials: list[str]) -> dict[str, Any]:
    """What every kind has: the arguments of Tokenizer."""
    return {
        "specials": specials,
        "template": template(saved.get("post_processor")),
        "truncation": truncation(saved.get("truncation")),
        "padding": padding(saved.get("padding")),
    }


def template(saved: dict[str, Any] | None) -> Template | None:
    """The template that a post-processor stands for."""
    if saved is None:
        return None
    kind = need(saved, "type", "post_processor")
    if kind == "ByteLevel":  # it has one task, the spans, and does it unless told not to
        settle(saved, "post_processor", type=ANY, add_prefix_space=ANY, use_regex=ANY, trim_offsets=False)
        return None
    if kind == "BertProcessing":
        sep, cls = (need(saved, key, "post_processor")[0] for key in ("sep", "cls"))
        return Template(f"{cls} $A {sep}", f"{cls} $A {sep} $B:1 {sep}:1")
    if kind == "Sequence":
        found = [template(part) for part in need(saved, "processors", "post_processor")]
        templates = [part for part in found if part]
        if len(templates) > 1:
            raise ValueError("post_processor has several templates in a row; lib.tokens does one.")
        return templates[0] if templates else None
    if kind != "TemplateProcessing":
        known = "TemplateProcessing, BertProcessing and ByteLevel"
        raise ValueError(f"post_processor is {kind!r}; lib.tokens reads {known}.")
    return Template(*(_words(need(saved, key, "post_processor")) for key in ("single", "pair")))


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
    settle(saved, "truncation", max_length=ANY, strategy=ANY, direction=ANY, stride=0)
    return Truncation(length, STRATEGIES[strategy], saved.get("direction", "Right").lower())


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
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": cut
        and {
            "direction": cut.side.capitalize(),
            "max_length": cut.length,
            "strategy": next(theirs for theirs, ours in STRATEGIES.items() if ours == cut.strategy),
            "stride": 0,
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
        "added_tokens": [{"id": tokenizer.id_of(s), "content": s, **special} for s in tokenizer.specials],
        "post_processor": _post_processor(tokenizer),
        **tokenizer._file(),
    }


def _post_processor(tokenizer: Tokenizer) -> dict[str, Any]:
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
