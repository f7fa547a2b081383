"""Folders of the library `transformers`, in both directions: config.json, safetensors, tokenizer.json.

    model = from_pretrained("folder")                          our model, with their weights
    tokenizer = tokenizer_of("folder")                         our tokenizer, from their file
    save_pretrained(model, "folder", tokenizer)                AutoModelForCausalLM and AutoTokenizer read it

Loading gives each parameter of ours exactly one value; each tensor of theirs is used, or listed as one that carries
nothing (`Layout.dropped`); shapes are equal; an unknown field of config.json is an error. Pickled weights are refused:
to unpickle a file is to run whatever program it holds. Every problem is a ValueError that names the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lib.layout import OLDER, Head, Layout, layouts
from lib.save import CONFIG, INDEX, TOKENIZER, WEIGHTS, save_pretrained
from lib.shapes import require
from lib.stack import Model
from lib.tokens import load as tokens
from lib.tokens.base import Tokenizer

__all__ = ["from_pretrained", "parameters", "save_pretrained", "tokenizer_of"]

PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def from_pretrained(
    folder: str | os.PathLike[str], architecture: str | None = None, dtype: torch.dtype | None = None
) -> Model:
    """The model in a folder, in evaluation mode; or in a repository of the Hugging Face hub, such as "gpt2".

    architecture: the class in `transformers` whose head is wanted, "BertModel"; what config.json says if None.
    dtype: of the parameters; torch's default if None.
    """
    path = Path(folder) if os.path.isdir(folder) else _download(os.fspath(folder), CONFIG, "*.safetensors", INDEX)
    config = _json(path / CONFIG)
    try:
        kind, known = config.get("model_type"), layouts()
        require(kind in known, f"model_type is {kind!r}, but there are layouts of {', '.join(sorted(known))}")
        layout = known[str(kind)]
        named = [architecture] if architecture else config.get("architectures") or []
        require(len(named) == 1, "it names no architecture, so say which: from_pretrained(folder, 'BertModel')")
        spec, head = layout.read(config, named[0])
        with torch.device("meta"):
            model = Model(spec)
    except (ValueError, TypeError, ZeroDivisionError) as error:  # a field may hold anything
        raise ValueError(f"{path / CONFIG}: {error}") from None
    try:
        tensors = _tensors(path)
        weights = parameters(model, tensors, layout, head, dtype or torch.get_default_dtype())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    model.load_state_dict(weights, assign=True)
    return model.eval()


def tokenizer_of(folder: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer in a folder, or in a repository of the Hugging Face hub: its tokenizer.json."""
    path = Path(folder) if os.path.isdir(folder) else _download(os.fspath(folder), TOKENIZER)
    there = (path / TOKENIZER).is_file()
    require(there, f"{path / TOKENIZER} is not there; `transformers` writes it with tokenizer.save_pretrained(folder)")
    return tokens.load(path / TOKENIZER)


def parameters(
    model: Model, tensors: Mapping[str, Any], layout: Layout, head: Head, dtype: torch.dtype
) -> dict[str, Tensor]:
    """The parameters of ours, out of their tensors: name -> a function that reads it. ValueError for what is wrong."""
    shapes = model.state_dict()
    places = layout.match([*shapes], head)
    bare = not any(name.startswith(layout.prefix) for name in tensors)
    found: dict[str, str] = {}
    for name in tensors:
        module, _, leaf = name.rpartition(".")
        new = f"{module}.{OLDER[leaf]}" if leaf in OLDER else name
        new = layout.prefix + new if bare and new not in places else new
        require(new not in found, f"{found.get(new)} and {name} are one tensor, under an old name and a new one")
        found[new] = name
    missing = [name for name in places if name not in found]
    extra = [name for name in found if name not in places and not layout.drops(name)]
    require(not missing, f"{len(missing)} tensors are missing: {_some(missing)}")
    require(not extra, f"{len(extra)} tensors have no place in this model: {_some([found[name] for name in extra])}")
    weights = {}
    for name, parts in places.items():
        expected = tuple(parts[0][1].write([shapes[mine] for mine, _ in parts]).shape)
        tensor = tensors[found[name]]()
        fits = tuple(tensor.shape) == expected
        require(fits, f"{name} has the shape {tuple(tensor.shape)}; as the model is described it is {expected}")
        require(tensor.is_floating_point(), f"{name} holds {tensor.dtype}, not floating-point numbers")
        for mine, how in parts:
            weights[mine] = how.read(tensor).to(dtype, copy=True, memory_format=torch.contiguous_format)
    return weights


def _tensors(path: Path) -> dict[str, Any]:
    """Name -> a function that reads the tensor, over all files of a folder."""
    from safetensors import SafetensorError, safe_open

    tensors: dict[str, Any] = {}
    for file, promised in _files(path).items():
        try:
            opened = safe_open(file, framework="pt")
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{file.name} is not a whole safetensors file ({error}): fetch it again") from None
        names = set(opened.keys())
        lacking = sorted(promised - names)
        require(not lacking, f"{INDEX} promises in {file.name} what is not there: {_some(lacking)}")
        twice = sorted(names & set(tensors))
        require(not twice, f"{file.name} holds tensors that another file holds too: {_some(twice)}")
        tensors |= {name: lambda name=name, opened=opened: opened.get_tensor(name) for name in sorted(names)}
    return tensors


def _files(path: Path) -> dict[Path, set[str]]:
    """The files of weights, and what the index says each of them holds."""
    if (path / WEIGHTS).is_file():
        return {path / WEIGHTS: set()}
    if not (path / INDEX).is_file():
        pickled = [file.name for file in sorted(path.iterdir()) if file.suffix in PICKLED]
        hint = f": {', '.join(pickled)} may be pickled, and to read it may run any program, so it is refused"
        raise ValueError(
            f"there is neither {WEIGHTS} nor {INDEX}{hint if pickled else ''}. `transformers` writes them with "
            "model.save_pretrained(folder)"
        )
    index: Any = _json(path / INDEX).get("weight_map")
    whole = isinstance(index, dict) and all(isinstance(name, str) for name in index.values()) and bool(index)
    require(whole, f"{INDEX} has no weight_map from tensors to files")
    files: dict[Path, set[str]] = {}
    for tensor, name in index.items():
        plain = name.endswith(".safetensors") and not any(sign in name for sign in "/\\:") and name[0] != "."
        require(plain, f"{INDEX} points to {name!r}; it may only point to safetensors files in its own folder")
        require(os.path.isfile(path / name), f"{INDEX} points to {name}, which is not there: fetch it again")
        files.setdefault(path / name, set()).add(tensor)
    return files


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{file} is not there: this is no folder of a model") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{file} is not JSON ({error})") from None
    require(isinstance(found, dict), f"{file} should hold an object, not a {type(found).__name__}")
    return found


def _download(name: str, *patterns: str) -> Path:
    """Some files of a repository of the hub, in the cache that `transformers` uses too."""
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(name, allow_patterns=[*patterns]))
    except (ImportError, ValueError, OSError) as error:  # what the hub raises for no such name and for no network
        raise ValueError(f"{name} is no folder here, and the hub did not give it: {error}") from None


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
