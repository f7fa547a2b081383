"""A model and its tokenizer as one GGUF file, which llama.cpp runs.

    save_gguf(model, tokenizer, "mine.gguf")                 matrices in float16
    save_gguf(model, tokenizer, "mine.gguf", kind="F32")

The file says what llama.cpp's own converter would say (conversion/{base,gpt2,llama}.py in ggml-org/llama.cpp; before
2026 they were one file, convert_hf_to_gguf.py); lib/gguf/vocabulary.py has the part on the tokenizer.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lib import files
from lib.gguf.names import FACTORS, LAYOUTS, placed
from lib.gguf.vocabulary import vocabulary
from lib.layout import nearest
from lib.shapes import require
from lib.stack import Model
from lib.tokens.base import Tokenizer

if TYPE_CHECKING:
    from gguf import GGUFWriter

KINDS = {"F32": 0, "F16": 1}
"""How matrices are kept -> general.file_type."""
TRAINING = ("p_dropout", "p_attend", "std")
"""Fields of a specification that change nothing once a model is trained."""
LARGEST = torch.finfo(torch.float16).max


def save_gguf(model: Model, tokenizer: Tokenizer, path: str | os.PathLike[str], kind: str = "F16", **told: str) -> None:
    """Write a file that gets its name once it is whole. told: special tokens by their role, as in lib.tokens.roles.

    Raises ValueError for what llama.cpp has no word for, in the model or in the tokenizer.
    """
    from gguf import GGML_QUANT_VERSION, GGUFWriter

    require(kind in KINDS, f"kind is {kind!r}; matrices are kept as {' or '.join(KINDS)}")
    architecture, config, tensors = _described(model)
    metadata: dict[str, Any] = {"general.name": model.spec.name, "general.file_type": KINDS[kind]}
    metadata["general.quantization_version"] = GGML_QUANT_VERSION
    metadata |= {key: value for key, value in config.items() if key.startswith(f"{architecture}.")}
    metadata |= vocabulary(tokenizer, model.spec.n_vocab, **told)
    writer = GGUFWriter(None, architecture)
    for key, value in metadata.items():
        _add(writer, key, value)
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().float()
        if kind == "F16" and tensor.dim() > 1 and not name.startswith("position_embd"):  # which llama.cpp adds as it is
            require(bool((tensor.abs() <= LARGEST).all()), f"{name} has numbers that F16 cannot hold: use kind='F32'")
            tensor = tensor.half()
        writer.add_tensor(name, tensor.contiguous().numpy())
    with files.whole(Path(path)) as half:
        try:
            writer.write_header_to_file(half)
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()


def _described(model: Model) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """The architecture, what the file says of the specification, and its tensors."""
    spec = model.spec
    architecture = nearest(spec, LAYOUTS)
    known = ", ".join(LAYOUTS)
    require(bool(architecture), f"GGUF files are written of {known} and their children, not of {spec.name}")
    layout = LAYOUTS[architecture]
    try:
        config, head = layout.write(spec.but(**{name: getattr(layout.spec, name) for name in TRAINING}))
    except ValueError as error:
        raise ValueError(f"{spec.name} is none that llama.cpp runs: {error}") from None
    ours = model.state_dict()
    tensors = {
        name: parts[0][1].write([ours[mine] for mine, _ in parts])
        for name, parts in placed(layout, spec).match([*ours], head).items()
    }
    return architecture, config, tensors | ({FACTORS: torch.tensor(config[FACTORS])} if FACTORS in config else {})


def _add(writer: GGUFWriter, key: str, value: Any) -> None:
    kinds = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
    (writer.add_array if isinstance(value, list) else kinds[type(value)])(key, value)
