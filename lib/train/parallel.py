"""Devices and processes: what Lightning Fabric sets up, and whole tensors out of shards and back.

With `devices` above 1, `fit` starts the other processes itself, each of which runs the same script again from its first
line (so `fit` belongs in a script, under `if __name__ == "__main__"`, or behind `course train`; a notebook has no
script to run again). Under torchrun the processes are there already: --nproc_per_node must equal `devices`.

    ddp     each process holds the whole model and a share of every batch; gradients are averaged (Li et al. 2020)
    fsdp    parameters, gradients and optimizer state are shared out too (Zhao et al. 2023): torch's `fully_shard`

https://lightning.ai/docs/fabric/stable/advanced/model_parallel/fsdp.html
https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html
"""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from lib.train.config import ConfigError, TrainConfig

if TYPE_CHECKING:
    from lightning.fabric import Fabric

T = TypeVar("T")


def launch(config: TrainConfig) -> Fabric:
    """Fabric for these settings, with all its processes there. ConfigError where this machine has no such thing."""
    _check(config)
    from lightning.fabric import Fabric
    from lightning.fabric.strategies.ddp import DDPStrategy
    from lightning.fabric.strategies.model_parallel import ModelParallelStrategy
    from lightning.fabric.strategies.strategy import Strategy
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    for name in ("lightning.fabric", "lightning.pytorch"):  # they announce each process
        logging.getLogger(name).setLevel(logging.WARNING)
    strategy: Strategy | str = "auto"
    if config.strategy == "fsdp":
        # All processes share the data; the second axis of the mesh, tensor parallelism, is one wide.
        strategy = ModelParallelStrategy(_shard, data_parallel_size=config.devices, tensor_parallel_size=1)
    elif config.strategy == "ddp" or config.devices > 1:
        strategy = DDPStrategy()
    precision: Any = {"plugins": [_double()]} if config.precision == "64-true" else {"precision": config.precision}
    try:
        fabric = Fabric(accelerator=config.accelerator, devices=config.devices, strategy=strategy, **precision)
    except (MisconfigurationException, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"accelerator={config.accelerator!r} with devices={config.devices} cannot be used here: {error}"
        ) from None
    fabric.launch()
    _cast_tensors_alone(fabric.strategy.precision)
    return fabric


def _cast_tensors_alone(precision: Any) -> None:
    """Fabric casts a model's input down to the fields of dataclasses, and fails at a frozen one: at a mask."""
    from torch.utils._pytree import tree_map_only

    cast = precision.convert_input
    precision.convert_input = lambda data: tree_map_only(Tensor, cast, data)


def _double() -> Any:
    """Fabric's 64-true, but for the model's output: Fabric's turns it to 32 bits, and the loss with it."""
    from lightning.fabric.plugins.precision.double import DoublePrecision

    class Double(DoublePrecision):
        def convert_output(self, data: Any) -> Any:
            return data

    return Double()


def _check(config: TrainConfig) -> None:
    """ConfigError where the processes asked for and the surroundings do not go together."""
    if config.strategy == "fsdp" and config.precision == "16-mixed":
        raise ConfigError("strategy='fsdp' cannot use precision='16-mixed', whose scaling wants whole gradients.")
    if config.devices > 1 and not torch.distributed.is_available():
        raise ConfigError(f"devices={config.devices}: this build of torch cannot run several processes together.")
    if "LOCAL_RANK" in os.environ:
        started = int(os.environ.get("WORLD_SIZE", "1"))
        if started != config.devices:
            raise ConfigError(f"{started} process(es) were started, and devices={config.devices}: make them equal.")
    elif config.devices > 1 and hasattr(sys.modules["__main__"], "get_ipython"):
        raise ConfigError(
            f"devices={config.devices} needs a script to run in each process, and a notebook is none: "
            "use devices=1 here, or `course train`."
        )


def _shard(model: nn.Module, mesh: Any) -> nn.Module:
    """FSDP2: the members of each ModuleList (the blocks of a deep model) one by one, and what is left as a whole.

    Inner ones come first, as `fully_shard` wants it. A block with a parameter that is used outside it too stays whole
    with the rest: what is sharded apart cannot be tied.
    """
    from torch.distributed import broadcast
    from torch.distributed.fsdp import fully_shard

    model.to(mesh.device_type)  # for a GPU: the one that is this process's own
    for tensor in model.state_dict().values():
        broadcast(tensor, 0)  # every process starts from the weights of the first, as under DDP
    mesh = mesh["data_parallel"]
    uses = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    for stack in reversed([module for module in model.modules() if isinstance(module, nn.ModuleList)]):
        for block in stack:
            inside = Counter(id(p) for _, p in block.named_parameters(remove_duplicate=False))
            if all(uses[p] == n for p, n in inside.items()):
                fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)  # in place
    return model


def together(fabric: Fabric, action: Callable[[], T]) -> T:
    """Do something in the first process alone; its result, or its exception, reaches every process."""
    outcome: Any = None
    if fabric.global_rank == 0:
        try:
            outcome = action(), None
        except Exception as error:
            outcome = None, error
    result, failure = fabric.broadcast(outcome)
    if failure is not None:
        raise failure
    return result


def gathered(fabric: Fabric, value: T) -> list[T]:
    """The value of each process, in every process."""
    if fabric.world_size == 1:
        return [value]
    values: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(values, value)
    return values


def summed(fabric: Fabric, values: list[float]) -> list[float]:
    """Each number's sum over all processes."""
    if fabric.world_size == 1:
        return values
    total = torch.tensor(values, dtype=torch.float64, device=fabric.device)
    torch.distributed.all_reduce(total)
    return total.tolist()


def _sharded(tensor: Any) -> bool:
    """Whether it is a DTensor, without the half second that importing them takes."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: Any) -> Tensor:
    """A tensor out of its shards; every process must ask. A tensor that is no shard is itself."""
    return tensor.full_tensor() if _sharded(tensor) else tensor


def like(tensor: Tensor, other: Any) -> Tensor:
    """A whole tensor, cut as the other one is; every process must ask, in the same order."""
    if not _sharded(other):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(other.device_mesh.device_type), other.device_mesh, other.placements)
