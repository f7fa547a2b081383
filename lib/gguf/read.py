"""A model and its tokenizer out of one GGUF file, as llama.cpp's converter writes them.

    model = from_gguf("SmolLM2-135M-Instruct.Q4_1.gguf")            float32, 4 bytes a parameter, whatever the file has
    model = from_gguf(path, attend=lib.attention.backends.attention)    with another value in a slot
    tokenizer = tokenizer_of(path)

The file is read where it lies, and tensor by tensor becomes numbers again, so that the only whole copy is the model. A
GGUF file is data and never code. Every problem is a ValueError that names the file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lib.gguf.names import FACTORS, LAYOUTS, WORDS, placed
from lib.gguf.vocabulary import ADDED, NORMAL, UNUSED, USER_DEFINED
from lib.load import parameters
from lib.shapes import require
from lib.stack import Model
from lib.tokens.added import Added
from lib.tokens.bpe import BPE
from lib.tokens.fallback import FallbackBPE
from lib.tokens.layout import Template

if TYPE_CHECKING:
    from gguf import GGUFReader, ReaderField, ReaderTensor

TOKENIZER = "tokenizer.ggml."
ASIDE = ("GGUF.", "general.", "tokenizer.", "quantize.")
"""Where keys begin that change no number which the model computes."""


def from_gguf(path: str | os.PathLike[str], dtype: torch.dtype | None = None, **changes: Any) -> Model:
    """The model in a file, in evaluation mode. dtype: of the parameters; torch's default if None.

    changes: of its specification, such as attend=attention.
    """
    with _opened(path) as reader:
        kind, config = _described(reader)
        layout = LAYOUTS[kind]
        spec, head = layout.read(config, kind)
        with torch.device("meta"):
            model = Model(spec.but(**changes))
        tensors = {tensor.name: lambda tensor=tensor: _numbers(tensor) for tensor in reader.tensors}
        weights = parameters(model, tensors, placed(layout, spec), head, dtype or torch.get_default_dtype())
    model.load_state_dict(weights, assign=True)
    return model.eval()


def tokenizer_of(path: str | os.PathLike[str]) -> BPE | FallbackBPE:
    """The tokenizer in a file: byte-level BPE, or SentencePiece's."""
    with _opened(path) as reader:
        told = {key.removeprefix(TOKENIZER): value for key, value in _told(reader) if key.startswith(TOKENIZER)}
        kind = told.get("model")
        require(kind in TOKENIZERS, f"{TOKENIZER}model is {kind!r}, but ours are {', '.join(map(repr, TOKENIZERS))}")
        return TOKENIZERS[kind](told)


def _byte_level(told: dict[str, Any]) -> BPE:
    pre = str(told.get("pre"))
    require(pre in WORDS, f"{TOKENIZER}pre is {pre!r}, but ours are {', '.join(map(repr, WORDS))}")
    splits, whole = WORDS[pre]
    _needs(told, "tokens", "merges", "token_type")
    merges = [(a, b) for a, _, b in (merge.partition(" ") for merge in told["merges"])]
    shared = _shared(told, begins=whole)
    return BPE(_pieces(told), merges, splits=splits, ignore_merges=whole, partial=True, **shared)


def _sentencepiece(told: dict[str, Any]) -> FallbackBPE:
    """Any two pieces merge whose whole is a piece, and those of the highest score first."""
    _needs(told, "tokens", "scores", "token_type")
    scored = zip(told["tokens"], told["scores"], told["token_type"], strict=True)
    plain = {piece: score for piece, score, kind in scored if kind == NORMAL}
    splits = {piece: [(piece[:i], piece[i:]) for i in range(1, len(piece))] for piece in plain}
    ordered = sorted(plain, key=lambda piece: -plain[piece])
    merges = [pair for piece in ordered for pair in splits[piece] if plain.keys() >= {*pair}]
    space = "normal" if told.get("add_space_prefix", True) else "never"
    return FallbackBPE(_pieces(told), merges, space=space, **_shared(told, begins=True))


TOKENIZERS: dict[Any, Callable[[dict[str, Any]], BPE | FallbackBPE]] = {"gpt2": _byte_level, "llama": _sentencepiece}


def _needs(told: dict[str, Any], *names: str) -> None:
    lacking = [TOKENIZER + name for name in names if name not in told]
    require(not lacking, f"it lacks {', '.join(lacking)}")


def _pieces(told: dict[str, Any]) -> list[str]:
    """All but the last ones that no text uses: rows that fill up the model's table."""
    n = len(told["tokens"])
    while n and told["token_type"][n - 1] == UNUSED:
        n -= 1
    return told["tokens"][:n]


def _shared(told: dict[str, Any], begins: bool) -> dict[str, Any]:
    """What every kind has. begins: whether a text begins with bos in a file that does not say."""
    kinds = zip(told["tokens"], told["token_type"], strict=True)
    specials = [Added(piece, special=kind != USER_DEFINED) for piece, kind in kinds if kind in ADDED]
    before, behind = _around(told, "bos", begins), _around(told, "eos", False)
    template = Template(f"{before} $A {behind}", f"{before} $A {behind} {before} $B {behind}")
    return {"specials": specials, "template": template}


def _around(told: dict[str, Any], name: str, unless_told: bool) -> str:
    """The token that the file wants at the beginning (bos) or the end (eos) of each text, "" for none."""
    if not told.get(f"add_{name}_token", unless_told):
        return ""
    id = told.get(f"{name}_token_id", -1)
    require(0 <= id < len(told["tokens"]), f"it wants a token {name} at each text, but its {name}_token_id is {id}")
    return told["tokens"][id]


def _described(reader: GGUFReader) -> tuple[str, dict[str, Any]]:
    """The architecture, and what `Layout.read` needs to know of a model."""
    tensors, told = {tensor.name: tensor for tensor in reader.tensors}, dict(_told(reader))
    kind = str(told.get("general.architecture"))
    require(kind in LAYOUTS, f"general.architecture is {kind!r}, but there are layouts of {', '.join(LAYOUTS)}")
    config = {key: value for key, value in told.items() if not key.startswith(ASIDE)}
    if "token_embd.weight" in tensors:
        config.setdefault(f"{kind}.vocab_size", int(tensors["token_embd.weight"].shape[-1]))
    if FACTORS in tensors:
        config[FACTORS] = tuple(_numbers(tensors[FACTORS]).tolist())
    return kind, config | {"tie_word_embeddings": "output.weight" not in tensors}


def _told(reader: GGUFReader) -> Iterator[tuple[str, Any]]:
    """The keys of the metadata, and what each holds."""
    for key, field in reader.fields.items():
        yield key, _value(field)


def _value(field: ReaderField) -> Any:
    """What a key of the metadata holds; of a float32 the shortest number that it is, 1e-05 and not 9.99999974e-06."""
    value = field.contents()
    return float(str(np.float32(value))) if isinstance(value, float) and field.parts[-1].itemsize == 4 else value


def _numbers(tensor: ReaderTensor) -> Tensor:
    """A tensor's numbers, in float32."""
    from gguf.quants import dequantize

    try:
        values = dequantize(tensor.data, tensor.tensor_type)
    except NotImplementedError:
        kind = tensor.tensor_type.name
        raise ValueError(f"{tensor.name} is of the type {kind}, which `gguf` does not read") from None
    return torch.from_numpy(np.require(values, requirements=["W", "E"]))  # in memory: copied where it was the file's


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[GGUFReader]:
    """The file, and its name before whatever is wrong with it."""
    from gguf import GGUFReader

    name = os.fspath(path)
    require(os.path.isfile(name), f"{name} is no file: give the path of a GGUF file")
    try:
        with open(name, "rb") as file:
            require(file.read(4) == b"GGUF", "its first four bytes are not GGUF, so it is no such file")
        try:
            reader = GGUFReader(name)
        except (ValueError, LookupError, OverflowError, UnicodeDecodeError) as error:
            raise ValueError(f"it is not whole ({error}): fetch it again") from None
        yield reader
    except (ValueError, TypeError, LookupError, ZeroDivisionError) as error:  # a key may hold anything
        raise ValueError(f"{name}: {error}") from None
