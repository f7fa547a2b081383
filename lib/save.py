"""A model of ours as a folder that the library `transformers` reads; lib/load.py reads such folders.

    config.json                                     the specification, in their words
    model.safetensors                               the weights; or, where they are many,
    model-00001-of-00003.safetensors, ...           shards, and
    model.safetensors.index.json                    which tensor is in which shard
    tokenizer.json, tokenizer_config.json           the tokenizer, where one is given

The folder holds the old model until the new one is written whole.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lib import files
from lib.layout import Layout, layout_of
from lib.shapes import require
from lib.spec import Spec
from lib.stack import Model
from lib.tokens.base import Tokenizer
from lib.tokens.roles import roles

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
SHARDS = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}


def save_pretrained(
    model: Model,
    folder: str | os.PathLike[str],
    tokenizer: Tokenizer | None = None,
    max_shard: int | str = "5GB",
    **told: str,
) -> None:
    """Write a model, and its tokenizer where one is given, for AutoModel and AutoTokenizer of `transformers`.

    max_shard: bytes in one file of weights, or such as "500MB"; a single tensor may have more. told: special tokens
    whose names do not tell what they are for, eos_token="<|im_end|>" (lib.tokens.roles).

    Raises ValueError for what theirs cannot hold, and for a tokenizer of more pieces than the model's table. The old
    model is there until the new one is written whole; a tokenizer stays where no new one is given.
    """
    from safetensors.torch import save

    size, layout = _bytes(max_shard), layout_of(model.spec)
    config, head = layout.write(model.spec)
    require(tokenizer is not None or not told, f"{', '.join(told)} belong to a tokenizer, and there is none")
    if tokenizer:
        config |= special_ids(tokenizer, model.spec, layout, **told)
        layout.read(config, head.architecture)
    ours = model.state_dict()
    theirs = {
        layout.name(name, head): parts[0][1].write([ours[mine] for mine, _ in parts]).contiguous()
        for name, parts in layout.match([*ours], head).items()
    }
    config["dtype"] = str(next(iter(theirs.values())).dtype).removeprefix("torch.")
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    with _Swap(path) as put:
        if tokenizer:
            tokenizer.save(put(TOKENIZER))
            files.write(put(TOKENIZER_CONFIG), _json(_tokenizer_config(tokenizer, model.spec, **told)))
        shards = _shards(theirs, size)
        for name, tensors in shards.items():
            files.write(put(name), save(tensors, metadata={"format": "pt"}))
        if len(shards) > 1:
            index = {name: file for file, tensors in shards.items() for name in tensors}
            total = {"total_size": sum(tensor.nbytes for tensor in theirs.values())}
            files.write(put(INDEX), _json({"metadata": total, "weight_map": dict(sorted(index.items()))}))
        files.write(put(CONFIG), _json(config))


def special_ids(tokenizer: Tokenizer, spec: Spec, layout: Layout, **told: str) -> dict[str, int | None]:
    """bos_token_id, eos_token_id and pad_token_id, as config.json has them: None where the tokenizer has no such token.

    Raises ValueError for a tokenizer of more pieces than the model's table.
    """
    fits = len(tokenizer) <= spec.n_vocab
    require(fits, f"the tokenizer has {len(tokenizer)} pieces, but the model's table only n_vocab={spec.n_vocab}")
    found = roles(tokenizer, **told)
    ids = {
        f"{role}_token_id": tokenizer.id_of(found[f"{role}_token"]) if f"{role}_token" in found else None
        for role in ("bos", "eos", "pad")
    }
    return {name: id for name, id in ids.items() if id is not None or name not in layout.fixed}


def _tokenizer_config(tokenizer: Tokenizer, spec: Spec, **told: str) -> dict[str, Any]:
    found = roles(tokenizer, **told)
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",  # whatever kind: tokenizer.json says all
        "model_max_length": spec.n_positions,
        "model_input_names": ["input_ids", *["token_type_ids"] * bool(spec.n_types), "attention_mask"],
        "clean_up_tokenization_spaces": False,
        **found,
        "additional_special_tokens": [
            text for text, token in tokenizer.added.items() if token.special and text not in found.values()
        ],
    }


class _Swap:
    """Files that are written under other names, and get their own together at the end; if anything fails, none does.

    First the old weights go, then the old config.json, and the new one comes last. So whoever is stopped in between
    leaves a folder that is refused, for it lacks one of the two, and never one that mixes two models.
    """

    def __init__(self, folder: Path):
        self.folder, self.names = folder, []

    def __enter__(self) -> Any:
        return self.put

    def put(self, name: str) -> Path:
        """Where to write what shall have this name."""
        self.names.append(name)
        return self.folder / f".{name}.new"

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        written = {self.folder / f".{name}.new": self.folder / name for name in self.names}
        try:
            if kind is None:
                shards = [file.name for file in self.folder.iterdir() if SHARDS.fullmatch(file.name)]
                for name in (INDEX, WEIGHTS, *shards, CONFIG):
                    (self.folder / name).unlink(missing_ok=True)
                files.sync(self.folder)
                for new, name in written.items():
                    os.replace(new, name)
                files.sync(self.folder)
        finally:
            for new in written:
                files.drop(new)


def _shards(tensors: Mapping[str, Tensor], size: int) -> dict[str, dict[str, Tensor]]:
    """File -> tensors, in their order: each file takes tensors as long as they fit."""
    shards: list[dict[str, Tensor]] = [{}]
    room = size
    for name, tensor in tensors.items():
        if tensor.nbytes > room and shards[-1]:
            shards.append({})
            room = size
        shards[-1][name] = tensor
        room -= tensor.nbytes
    if len(shards) == 1:
        return {WEIGHTS: shards[0]}
    return {f"model-{i:05}-of-{len(shards):05}.safetensors": shard for i, shard in enumerate(shards, 1)}


def _bytes(size: int | str) -> int:
    """5GB as a number."""
    if isinstance(size, str):
        found = re.fullmatch(rf"(\d+) ?({'|'.join(UNITS)})", size)
        require(bool(found), f"max_shard is a number of bytes, or such as '500MB' or '5GB', not {size!r}")
        assert found
        size = int(found[1]) * UNITS[found[2]]
    require(size >= 1, f"max_shard is 1 byte or more, not {size}")
    return size


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
