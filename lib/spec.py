"""A model is a specification: numbers, and slots that hold classes and functions.

    gpt2 = add(Spec(name="gpt2", n_vocab=50257, n_positions=1024, d_model=768, d_ff=3072, n_layers=12, n_heads=12, ...))
    tiny = gpt2.but(n_layers=2, d_model=64, d_ff=256, n_heads=4)      what differs, and nothing else
    model = Model(tiny)                                                lib/stack.py
    print(diff("gpt2", "llama"))                                       sizes apart from choices
    print(tree())                                                      who comes from whom

A new member of the family is a file in lib/zoo with `add(parent.but(name=..., parent=..., paper=..., ...))`. It holds
code only where the value of a slot is new.
"""

from __future__ import annotations

import dataclasses
import difflib
import html
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from lib import heads, stack
from lib.attention import core, masks
from lib.layers.embed import Embedding, nothing
from lib.layers.ff import FeedForward
from lib.layers.pos import Position
from lib.shapes import Mask, Score, require


@dataclass(frozen=True)
class Spec:
    """What a model is made of. `lib.stack.Model(spec)` builds it.

    Slots whose value is built from several fields are called with the specification: embed(spec), pos(spec), and so on.
    Layers are called with numbers, as torch's own: norm(d, eps=eps), ff(d_model, d_ff, act=act, bias=bias). Functions
    (mask, act, attend) are used as they are. ValueError for sizes below 1, shares that are none, heads that do not fit.
    """

    name: str
    parent: str = ""
    paper: str = ""

    # sizes
    n_vocab: int = 256
    n_source: int = 256
    """Entries of the source's vocabulary where it has one of its own, `TwoTables`."""
    n_positions: int = 512
    """The longest sequence that a table of positions holds."""
    n_types: int = 0
    """Kinds of segments with an embedding of their own; 0 for no such table."""
    n_classes: int = 2
    """Answers between which a head that classifies may choose."""
    n_layers: int = 2
    """Blocks of the stack; where there is an encoder and a decoder, of each."""
    n_heads: int = 4
    n_groups: int | None = None
    """Heads of keys and values; n_heads if None."""
    d_model: int = 64
    d_ff: int = 256
    eps: float = 1e-5
    """What a norm adds to the variance."""
    base: float = 10000.0
    """Of the frequencies of sinusoidal and rotary positions."""
    p_dropout: float = 0.0
    """Of embeddings and of what each sublayer adds."""
    p_attend: float = 0.0
    """Of attention weights."""
    std: float = 0.02
    """Spread of the first weights, for `stack.normal`."""

    # choices
    bias: bool = True
    """Of every linear layer in a block."""
    embed: Callable[[Spec], Embedding] = Embedding
    """Ids to vectors: `Embedding`, `Scaled`, `Normed`."""
    pos: Callable[[Spec], Position] = nothing
    """What is added to the embeddings: `nothing`, `learned`, `sinusoidal`."""
    turn: Callable[[Spec], Position] = nothing
    """What turns queries and keys: `nothing`, `rotary`, `stretched(scaling)`."""
    mix: Callable[[Spec], nn.Module] = stack.attention
    """The sublayer that mixes positions, with the forward of `lib.attention.core.Attention`."""
    mask: Mask = masks.full
    """Who may ever attend to whom: `full` in an encoder, `causal` in a decoder."""
    score: Callable[[Spec], Score] = stack.same
    """What is done to a score before the softmax; a module if it learns."""
    attend: Callable[..., Tensor] = core.attend
    """How attention is computed."""
    ff: Callable[..., nn.Module] = FeedForward
    """The sublayer that works on each position by itself: `FeedForward`, `Gated`."""
    act: Callable[[Tensor], Tensor] = F.gelu
    norm: Callable[..., nn.Module] = nn.LayerNorm
    """nn.LayerNorm or nn.RMSNorm, or a class that is called as they are."""
    residual: Callable[[Spec], nn.Module] = stack.PreNorm
    """How a sublayer's answer joins the stream: `PreNorm`, `PostNorm`."""
    block: Callable[[Spec], nn.Module] = stack.Block
    """Which sublayers there are, and in which order."""
    final: Callable[..., nn.Module] = nn.Identity
    """The norm behind the last block, called as `norm` is; nn.Identity for none."""
    body: Callable[[Spec], stack.Single | stack.EncoderDecoder] = stack.Single
    """Embeddings and stacks: `Single`, `EncoderDecoder`, `TwoTables`."""
    head: Callable[[Spec], nn.Module] = heads.TiedLM
    """What turns the last hidden states into an answer: lib/heads.py."""
    init: Callable[[stack.Model], None] = stack.normal
    """Gives every parameter of the model its first value: `normal`, `xavier`."""

    def __post_init__(self) -> None:
        for name in ("n_vocab", "n_source", "n_positions", "n_classes", "n_layers", "n_heads", "d_model", "d_ff"):
            require(getattr(self, name) >= 1, f"{name} is at least 1, not {getattr(self, name)}")
        require(self.n_types >= 0, f"n_types is 0 or more, not {self.n_types}")
        fits = f"d_model={self.d_model} is not a multiple of n_heads={self.n_heads}: change one of them"
        require(self.d_model % self.n_heads == 0, fits)
        for name in ("eps", "std"):
            require(getattr(self, name) >= 0, f"{name} is 0 or more, not {getattr(self, name)}")
        require(self.base > 0, f"base is above 0, not {self.base}")
        for name in ("p_dropout", "p_attend"):
            require(0 <= getattr(self, name) < 1, f"{name} is a share below 1, not {getattr(self, name)}")

    @property
    def d_head(self) -> int:
        """Width of one head."""
        return self.d_model // self.n_heads

    def but(self, **changes: Any) -> Spec:
        """The same specification with other values in some fields. ValueError for a field that it does not have."""
        known = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
            require(name in known, f"a specification has no field {name}: {hint}")
        return dataclasses.replace(self, **changes)


# --- the family ------------------------------------------------------------------------------------------------------

_family: dict[str, Spec] = {}


def add(spec: Spec) -> Spec:
    """Enter a specification into the family. ValueError where its name is taken or its parent is not there."""
    require(spec.name not in _family, f"there is a model {spec.name!r} already: choose another name")
    require(not spec.parent or spec.parent in _family, f"{spec.name}: its parent {spec.parent!r} is not in the family")
    _family[spec.name] = spec
    return spec


def get(name: str) -> Spec:
    """The specification of that name, from whichever file of lib/zoo it stands in. ValueError where there is none."""
    known = family()
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"
    require(name in known, f"no model is called {name!r}: {hint}")
    return known[name]


def family() -> dict[str, Spec]:
    """Every specification in lib/zoo, by name, in the order of the alphabet."""
    from lib import zoo

    for module in pkgutil.iter_modules(zoo.__path__):
        importlib.import_module(f"{zoo.__name__}.{module.name}")
    return dict(sorted(_family.items()))


@dataclass(frozen=True)
class Diff:
    """What differs between two specifications: field -> (in the first, in the second)."""

    sizes: dict[str, tuple[Any, Any]]
    choices: dict[str, tuple[Any, Any]]

    def __str__(self) -> str:
        lines = []
        for title, fields in (("sizes", self.sizes), ("choices", self.choices)):
            lines += [title] * bool(fields)
            lines += [f"  {name:<12}{shown(a)} -> {shown(b)}" for name, (a, b) in fields.items()]
        return "\n".join(lines) or "no difference"

    def _repr_html_(self) -> str:
        """A table, which a notebook shows in place of the text."""
        rows = []
        for title, fields in (("sizes", self.sizes), ("choices", self.choices)):
            rows += [f"<th colspan=3 align=left>{title}</th>"] * bool(fields)
            for name, pair in fields.items():
                rows.append("".join(f"<td>{html.escape(each)}</td>" for each in (name, *map(shown, pair))))
        return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>" if rows else "no difference"


def diff(a: Spec | str, b: Spec | str) -> Diff:
    """The fields in which two models differ, sizes apart from choices. Names, parents and papers do not count."""
    a, b = (get(each) if isinstance(each, str) else each for each in (a, b))
    differ = {}
    for field in dataclasses.fields(Spec)[3:]:
        pair = getattr(a, field.name), getattr(b, field.name)
        if pair[0] != pair[1]:
            differ[field.name] = pair
    sizes = {name: pair for name, pair in differ.items() if name[:2] in ("n_", "d_", "p_") or name in NUMBERS}
    return Diff(sizes, {name: pair for name, pair in differ.items() if name not in sizes})


NUMBERS = ("eps", "base", "std")


def tree(root: str = "") -> str:
    """The family as text, each model below its parent; below `root` alone if it is given."""
    known = family()

    def branch(name: str, before: str, mine: str, below: str) -> list[str]:
        children = [spec.name for spec in known.values() if spec.parent == name]
        lines = [f"{before}{mine}{name}"] if name else []
        for i, child in enumerate(children):
            last = i == len(children) - 1
            mark = ("└─ ", "   ") if last else ("├─ ", "│  ")
            lines += branch(child, before + below, *(mark if name else ("", "")))
        return lines

    return "\n".join(branch(get(root).name if root else "", "", "", ""))


def shown(value: Any) -> str:
    """A field's value as a reader would write it: classes and functions by name, a made function by its maker's."""
    if isinstance(value, partial):
        made = [*map(shown, value.args), *(f"{name}={shown(each)}" for name, each in value.keywords.items())]
        return f"{shown(value.func)}({', '.join(made)})"
    name = getattr(value, "__qualname__", repr(value))
    return f"{name.split('.<locals>')[0]}(...)" if ".<locals>" in name else name
