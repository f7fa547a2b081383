"""Reading a tokenizer.json of any kind."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from lib.tokens.base import Tokenizer
from lib.tokens.bpe import BPE
from lib.tokens.char import Char
from lib.tokens.files import ANY, added_token, need, shared
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
    kind = need(model, "type", "model")
    if kind not in KINDS:
        raise ValueError(f"model.type is {kind!r}; lib.tokens has {', '.join(KINDS)}.")
    chosen = Char if kind == "BPE" and saved.get("pre_tokenizer") is None else KINDS[kind]
    normalized = False if saved.get("normalizer") else ANY
    added = dict(added_token(token, normalized) for token in saved.get("added_tokens") or [])
    return chosen._load(saved, added, shared(saved, list(added)))
