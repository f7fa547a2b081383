"""The tensors of a model and of its optimizer: out, to be written, and back in, whole or sharded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from lib.train.config import ConfigError
from lib.train.parallel import like, whole


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Copy the weights of a run into a model: `best.safetensors`, or a checkpoint's `model.safetensors`.

    Raises ConfigError where names or shapes differ, and OSError where there is no such file.
    """
    from safetensors.torch import load

    to_model(model, load(Path(path).read_bytes()))


def of_model(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """A model's tensors by name, each once, and for each further name of a tied one the name it is kept under."""
    named: dict[str, Tensor] = {}
    tied: dict[str, str] = {}
    first: dict[int, str] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} in the model's state_dict is {type(tensor).__name__}; a checkpoint holds tensors.")
        if id(tensor) in first:
            tied[name] = first[id(tensor)]
        else:
            first[id(tensor)] = name
            named[name] = tensor
    return named, tied


def of_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What the optimizer remembers, as "parameter/key", in an order that all processes agree on."""
    return {
        f"{name}/{key}": value
        for name, parameter in model.named_parameters()
        for key, value in sorted(optimizer.state.get(parameter, {}).items())
        if value is not None
    }


def collected(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Whole copies in the main memory, to be written. Every process must ask; all get them."""
    return {name: whole(tensor.detach()).cpu().clone().contiguous() for name, tensor in tensors.items()}


def gather(model: nn.Module) -> None:
    """Put whole parameters where a model has shards, to be written or read. Every process must ask; none trains on."""
    made: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in made:
                made[id(parameter)] = nn.Parameter(whole(parameter.detach()), parameter.requires_grad)
            module.register_parameter(name, made[id(parameter)])


def to_model(model: nn.Module, kept: Mapping[str, Tensor]) -> None:
    """Copy tensors into a model, shard for shard where it is sharded. ConfigError where the two do not fit."""
    named, _ = of_model(model)
    wrong = [f"{name} is not in the model" for name in kept.keys() - named.keys()]
    wrong += [f"{name} is not in the file" for name in named.keys() - kept.keys()]
    wrong += [
        f"{name} has shape {tuple(kept[name].shape)} in the file, {tuple(named[name].shape)} in the model"
        for name in named.keys() & kept.keys()
        if kept[name].shape != named[name].shape
    ]
    if wrong:
        more = f"\n  and {len(wrong) - 8} more" if len(wrong) > 8 else ""
        listed = "\n  ".join(sorted(wrong)[:8])
        raise ConfigError(f"The weights belong to another model:\n  {listed}{more}")
    with torch.no_grad():
        for name, tensor in named.items():
            tensor.copy_(like(kept[name].to(tensor.dtype), tensor))


def to_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, kept: Mapping[str, Tensor]) -> None:
    """Give the optimizer back what it remembered; rates and the like follow from the settings."""
    parameters = dict(model.named_parameters())
    for place, value in sorted(kept.items()):
        name, _, key = place.rpartition("/")
        parameter = parameters[name]
        if key != "step":  # a count, which stays in the main memory
            value = like(value.to(parameter.device, parameter.dtype), parameter)
        optimizer.state[parameter][key] = value
