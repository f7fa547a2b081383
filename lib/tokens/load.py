"""Reading a tokenizer.json of any kind."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from lib.tokens.base import Tokenizer
from lib.tokens.bpe import BPE
from lib.tokens.char import Char
from lib.tokens.fallback import FallbackBPE
from lib.tokens.files import added_token, flag, need, parts, shared
from lib.tokens.unigram import Unigram
from lib.tokens.wordpiece import WordPiece

KINDS: dict[str, type[Tokenizer]] = {"BPE": BPE, "WordPiece": WordPiece, "Unigram": Unigram}


def load(path: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer in a file. Raises ValueError that names what is missing, or what this library does not do."""
    try:
        return _of(json.loads(Path(path).read_text(encoding="utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a tokenizer.json: it is not JSON ({error}).") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _of(saved: dict[str, Any]) -> Tokenizer:
    model = need(saved, "model", "The file")
    kind = _kind(model)
    vocabulary = need(model, "vocab", "model")
    own = {str(entry[0] if isinstance(entry, list) and entry else entry) for entry in vocabulary}
    added = [added_token(token, own) for token in saved.get("added_tokens") or []]
    if kind is BPE and model.get("byte_fallback"):
        kind = FallbackBPE
    elif kind is BPE and saved.get("pre_tokenizer") is None:
        kind = Char
    if kind is not BPE and any(flag(part, "trim_offsets", "post_processor") for part in parts(saved, "post_processor")):
        raise ValueError("post_processor has trim_offsets = true, which lib.tokens does for byte-level BPE alone.")
    tokenizer = kind._load(saved, {token.text: id for token, id in added}, shared(saved, [token for token, _ in added]))
    _same_ids(saved, tokenizer)
    return tokenizer


def _kind(model: Any) -> type[Tokenizer]:
    """The kind of a model; the oldest files, GPT-2's among them, do not name it."""
    if not isinstance(model, dict) or "type" in model:
        kind = need(model, "type", "model")
        if kind not in KINDS:
            raise ValueError(f"model.type is {kind!r}; lib.tokens has {', '.join(KINDS)}.")
        return KINDS[kind]
    if "merges" in model:
        return BPE
    if "max_input_chars_per_word" in model:
        return WordPiece
    raise ValueError("model has no 'type', and neither the merges of BPE nor what WordPiece has.")


def _same_ids(saved: dict[str, Any], tokenizer: Tokenizer) -> None:
    """Raise ValueError where the file gives a token of the template or the padding another id than its own."""
    told, used = {}, tokenizer.template.names()
    for part in parts(saved, "post_processor"):
        told |= {name: entry.get("ids") for name, entry in part.get("special_tokens", {}).items()}
        told |= {part[key][0]: [part[key][1]] for key in ("sep", "cls") if key in part}
    if padding := saved.get("padding"):
        told[padding["pad_token"]] = [padding.get("pad_id", 0)]
        used.append(padding["pad_token"])
    for name in used:
        if told.get(name) != [tokenizer.id_of(name)]:
            id = tokenizer.id_of(name)
            raise ValueError(f"The file puts in {name!r} with the ids {told.get(name)}; in the vocabulary it has {id}.")
