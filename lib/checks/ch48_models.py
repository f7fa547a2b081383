"""Checks of 48_real_bert on files of weights and on freezing."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.random import Generator
from torch import nn

from lib.checks import Case, Exercise, Misconception

LESSON = "of 48_real_bert"

# 48.1 -----------------------------------------------------------------------------------------------------------------

Places = dict[str, tuple[tuple[int, ...], int, int]]


def places(data: bytes) -> Places:
    n = int.from_bytes(data[:8], "little")
    if 8 + n > len(data):
        raise ValueError(f"the header shall be {n} bytes long, and the file has {len(data)}: fetch it again")
    found = {}
    for name, entry in json.loads(data[8 : 8 + n]).items():
        if name != "__metadata__":
            begin, end = (8 + n + offset for offset in entry["data_offsets"])
            if not 8 + n <= begin <= end <= len(data):
                raise ValueError(f"{name} shall lie at {begin} to {end}, and the file has {len(data)} bytes")
            found[name] = (tuple(entry["shape"]), begin, end)
    return found


def _places(data: bytes, start: int, order: Any = "little", metadata: bool = False) -> Places:
    """What a file says, trusted."""
    n = int.from_bytes(data[:8], order)
    found = {}
    for name, entry in json.loads(data[8 : 8 + n]).items():
        if metadata or name != "__metadata__":
            shape, (begin, end) = tuple(entry["shape"]), entry["data_offsets"]
            found[name] = (shape, start + begin, start + end)
    return found


def _places_by_struct(data):
    import struct

    if len(data) < 8 or struct.unpack("<Q", data[:8])[0] > len(data) - 8:
        raise ValueError("cut short")
    start = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:start].decode())
    header.pop("__metadata__", None)
    for entry in header.values():
        begin, end = entry["data_offsets"]
        if begin < 0 or end < begin or start + end > len(data):
            raise ValueError("outside")
    return {
        name: (tuple(e["shape"]), start + e["data_offsets"][0], start + e["data_offsets"][1])
        for name, e in header.items()
    }


def _places_trusting(data):
    return _places(data, 8 + int.from_bytes(data[:8], "little"))


def _places_of_numbers(data):
    return _places(data, 0)


def _places_of_header(data):
    return _places(data, int.from_bytes(data[:8], "little"))


def _places_big_endian(data):
    return _places(data, 8 + int.from_bytes(data[:8], "big"), order="big")


def _places_of_metadata(data):
    return _places(data, 8 + int.from_bytes(data[:8], "little"), metadata=True)


def _file(header: dict[str, Any], n_bytes: int = 0, n_spaces: int = 0, told: int | None = None) -> bytes:
    """A safetensors file, as its header has it or not. told: the length that its first eight bytes say."""
    text = json.dumps(header).encode() + b" " * n_spaces
    return (len(text) if told is None else told).to_bytes(8, "little") + text + bytes(range(256))[:n_bytes]


def _entry(shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}


def _file_case(rng: Generator) -> tuple:
    a, b, c = (int(rng.integers(1, 5)) for _ in range(3))
    cut = 4 * a * b
    header = {"__metadata__": {"format": "pt"}, "table": _entry([a, b], 0, cut), "bias": _entry([c], cut, cut + 4 * c)}
    return (_file(header, cut + 4 * c, n_spaces=int(rng.integers(0, 300))),)


# 48.5 -----------------------------------------------------------------------------------------------------------------


def freeze(model: nn.Module, head: nn.Module) -> int:
    model.requires_grad_(False)
    head.requires_grad_(True)
    model.eval()
    head.train()
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _freeze_by_loops(model, head):
    of_head = set(head.parameters())
    for p in model.parameters():
        p.requires_grad = p in of_head
    for module in model.modules():
        module.training = any(module is part for part in head.modules())
    return sum(p.numel() for p in of_head)


def _freeze_dropout_on(model, head):
    model.requires_grad_(False)
    head.requires_grad_(True)
    return sum(p.numel() for p in head.parameters())


def _freeze_mode_alone(model, head):
    model.requires_grad_(True)
    model.eval()
    head.train()
    return sum(p.numel() for p in model.parameters())


def _freeze_everything(model, head):
    freeze(model, head)
    model.requires_grad_(False)
    return 0


def _freeze_head_in_evaluation(model, head):
    n = freeze(model, head)
    model.eval()
    return n


def _freeze_the_head(model, head):
    model.requires_grad_(True)
    head.requires_grad_(False)
    model.train()
    head.eval()
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _freeze_counts_all(model, head):
    freeze(model, head)
    return sum(p.numel() for p in model.parameters())


def _freeze_counts_tensors(model, head):
    freeze(model, head)
    return len([p for p in model.parameters() if p.requires_grad])


def _use_freeze(answer: Any, width: int, training: bool, learns: bool) -> tuple[int, np.ndarray, np.ndarray]:
    """What is counted, and which parameters learn and which parts are in training mode afterwards."""
    encoder = nn.Sequential(
        nn.Embedding(9, width), nn.Linear(width, 2 * width), nn.Dropout(0.1), nn.LayerNorm(2 * width)
    )
    head = nn.Sequential(nn.Dropout(0.1), nn.Linear(2 * width, 3))
    model = nn.ModuleDict({"encoder": encoder, "head": head}).train(training)
    head.requires_grad_(learns)
    n = answer(model, head)
    if not isinstance(n, int):
        raise TypeError(f"freeze should return how many numbers are trained, and returned {type(n).__name__}")
    modes = [part.training for part in (encoder, *encoder, head, *head)]
    return n, np.array([p.requires_grad for p in model.parameters()]), np.array(modes)


EXERCISES = [
    Exercise(
        "48.1",
        "A header, read with care",
        minutes=18,
        difficulty=3,
        reference=places,
        cases=[
            _file_case,
            Case("no tensors", _file({})),
            Case("a tensor without numbers", _file({"a": _entry([0, 3], 0, 0), "b": _entry([1], 0, 4)}, 4)),
            Case("cut within the first bytes", _file({})[:5], raises=ValueError),
            Case("a header one byte longer than the file", _file({}, told=3), raises=ValueError),
            Case("a header of 65 million gigabytes", _file({}, told=2**56 + 2), raises=ValueError),
            Case("numbers cut short", _file({"a": _entry([2], 0, 8)}, 7), raises=ValueError),
            Case("a place before the numbers", _file({"a": _entry([1], -1, 3)}, 4), raises=ValueError),
            Case("a place that ends before it begins", _file({"a": _entry([1], 8, 4)}, 8), raises=ValueError),
        ],
        misconceptions=[
            Misconception(
                "counts the places from the beginning of the file",
                _places_of_numbers,
                why="data_offsets count from where the numbers begin: behind the 8 bytes and the header.",
                look=f"Section 1 {LESSON}",
            ),
            Misconception(
                "forgets the first 8 bytes in the places",
                _places_of_header,
                why="The numbers begin at 8 + n: the length n is that of the header alone.",
                look=f"Section 1 {LESSON}",
            ),
            Misconception(
                "reads the length with the highest byte first",
                _places_big_endian,
                why='The lowest byte comes first: int.from_bytes(..., "little").',
                look=f"Section 1 {LESSON}",
            ),
            Misconception(
                "takes __metadata__ for a tensor",
                _places_of_metadata,
                why="That entry of the header holds notes, and has no data_offsets.",
                look=f"Section 1 {LESSON}",
            ),
            Misconception(
                "believes whatever the file says",
                _places_trusting,
                why="A file may be cut short, or made to harm. Compare each place with the length of the file before "
                "anything is read there.",
                look=f"Section 1 {LESSON}, 'Why not a pickle'",
            ),
        ],
        hints=(
            "Where do the numbers begin, if the header is n bytes long? What must hold for a place inside the file?",
            "n = int.from_bytes(data[:8], 'little'); the header is json.loads(data[8 : 8 + n]). Check 8 + n first.",
            "begin, end = (8 + n + offset for offset in entry['data_offsets']); 8 + n <= begin <= end <= len(data)",
        ),
        alternatives=[_places_by_struct],
        names=("data",),
    ),
    Exercise(
        "48.5",
        "To freeze",
        minutes=10,
        difficulty=2,
        reference=freeze,
        use=_use_freeze,
        cases=[
            Case("a new model", 3, True, True),
            Case("a model in evaluation mode", 4, False, True),
            Case("a model that was frozen whole", 2, False, False),
        ],
        misconceptions=[
            Misconception(
                "freezes the numbers and leaves dropout as it is",
                _freeze_dropout_on,
                why="With dropout on, the features of the frozen part are noise around what they should be, in every "
                "step another. Freezing needs evaluation mode too, and the head training mode.",
                look=f"Section 7 {LESSON}, 'Frozen'",
            ),
            Misconception(
                "switches the mode and lets everything learn",
                _freeze_mode_alone,
                why="eval() changes dropout and batch norm. Gradients are computed and applied as before.",
                look=f"Section 7 {LESSON}, 'Frozen'",
            ),
            Misconception(
                "freezes the head as well",
                _freeze_everything,
                why="The head is a part of the model: freeze all first, then let the head learn again.",
                look=f"Section 7 {LESSON}, 'Frozen'",
            ),
            Misconception(
                "puts the head into evaluation mode",
                _freeze_head_in_evaluation,
                why="The head is trained, and its dropout belongs to that.",
                look=f"Section 7 {LESSON}, 'Frozen'",
            ),
            Misconception(
                "freezes the head and trains the rest",
                _freeze_the_head,
                why="It is the other way round: what was pre-trained stays, what is new learns.",
                look=f"Section 7 {LESSON}",
            ),
            Misconception(
                "counts all parameters",
                _freeze_counts_all,
                why="Asked for are those that are trained.",
                look=f"Section 7 {LESSON}, 'Frozen'",
            ),
            Misconception(
                "counts tensors instead of numbers",
                _freeze_counts_tensors,
                why="A matrix is one parameter for PyTorch and many numbers: p.numel().",
                look=f"Section 2 {LESSON}",
            ),
        ],
        hints=(
            "Two switches, one for gradients and one for dropout; each for all, and then again for the head.",
            "model.requires_grad_(False) and model.eval() reach every part, the head too.",
            "Then head.requires_grad_(True), head.train(), and sum p.numel() over those with p.requires_grad.",
        ),
        alternatives=[_freeze_by_loops],
        names=("width", "training", "learns"),
    ),
]
