"""The states of the global random generators (Python's, NumPy's, torch's and the device's): what dropout draws from."""

from __future__ import annotations

import base64
import random
from typing import Any

import numpy as np
import torch

from lib import seed as seed_all
from lib.train.sampler import GLOBAL, mixed


def start(seed: int, rank: int, step: int = 0) -> None:
    """Seed all of them; each process, and each step at which a process joins, has random numbers of its own."""
    seed_all(mixed(seed, GLOBAL, rank, step) % 2**32)  # NumPy's takes 32 bits


def states(device: torch.device) -> dict[str, Any]:
    """The state of each generator of this process."""
    kept: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=False),  # noqa: NPY002  # the global one, which other libraries draw from
        "torch": torch.get_rng_state(),
    }
    if device.type in ("cuda", "mps"):
        kept[device.type] = getattr(torch, device.type).get_rng_state()
    return kept


def restore(kept: dict[str, Any]) -> None:
    """Put each generator into a state that `states` returned."""
    random.setstate(kept["python"])
    np.random.set_state(kept["numpy"])  # noqa: NPY002
    torch.set_rng_state(kept["torch"])
    for device in ("cuda", "mps"):
        if device in kept and getattr(torch, device).is_available():
            getattr(torch, device).set_rng_state(kept[device])


def to_json(kept: dict[str, Any]) -> dict[str, Any]:
    """The same as plain values: whole numbers, and bytes in base 64."""
    version, numbers, gauss = kept["python"]
    mt = kept["numpy"]
    plain: dict[str, Any] = {
        "python": [version, list(numbers), gauss],
        "numpy": {**mt, "state": {"key": mt["state"]["key"].tolist(), "pos": int(mt["state"]["pos"])}},
    }
    for name in kept.keys() - plain.keys():
        plain[name] = base64.b64encode(kept[name].numpy().tobytes()).decode()
    return plain


def from_json(plain: dict[str, Any]) -> dict[str, Any]:
    """What `to_json` was given."""
    version, numbers, gauss = plain["python"]
    mt = plain["numpy"]
    kept: dict[str, Any] = {
        "python": (version, tuple(numbers), gauss),
        "numpy": {**mt, "state": {**mt["state"], "key": np.array(mt["state"]["key"], np.uint32)}},
    }
    for name in plain.keys() - kept.keys():
        kept[name] = torch.frombuffer(bytearray(base64.b64decode(plain[name])), dtype=torch.uint8)
    return kept
