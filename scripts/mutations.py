"""Every small change of a piece of code: the mutants that `make mutants` sets on the checks.

A mutation is a function node -> replacements; `mutants` applies each to every node between two lines, one at a time.
Left alone are texts of error messages, docstrings and annotations, which no check looks at.
"""

from __future__ import annotations

import ast
import copy
import difflib
from collections.abc import Callable, Iterator

OPERATORS: dict[type, tuple[type, ...]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Div,),
    ast.Mod: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.MatMult: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}

NAMES = {
    "max": "min",
    "min": "max",
    "maximum": "minimum",
    "minimum": "maximum",
    "argmax": "argmin",
    "argmin": "argmax",
    "sum": "mean",
    "mean": "sum",
    "any": "all",
    "all": "any",
    "zeros": "ones",
    "ones": "zeros",
    "zeros_like": "ones_like",
    "ones_like": "zeros_like",
    "exp": "log",
    "log": "exp",
    "sin": "cos",
    "cos": "sin",
    "sqrt": "square",
    "append": "extend",
}

CONVERSIONS = {"float", "int", "list", "tuple", "set", "array", "asarray", "as_tensor", "tensor", "iter", "dict", "str"}
"""Calls that change the type and hardly the value: f(x) -> x would be the same answer."""


def _operators(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)):
        for new in OPERATORS.get(type(node.op), ()):
            yield _with(node, op=new())
    if isinstance(node, ast.AugAssign):
        yield ast.Assign(targets=[node.target], value=node.value)
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            for new in OPERATORS.get(type(op), ()):
                yield _with(node, ops=[*node.ops[:i], new(), *node.ops[i + 1 :]])


def _signs(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.UnaryOp):
        yield node.operand


def _constants(node: ast.AST) -> Iterator[ast.AST]:
    if not isinstance(node, ast.Constant):
        return
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
        if value > 0:
            yield ast.Constant(value - 1)
    elif isinstance(value, float):
        yield ast.Constant(value * 2 if value else 1.0)
    elif isinstance(value, str):
        yield ast.Constant(value + "x" if value else "x")


def _calls(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Attribute) and node.attr == "T":
        yield node.value
    if isinstance(node, ast.Attribute) and node.attr in NAMES:
        yield _with(node, attr=NAMES[node.attr])
    if isinstance(node, ast.Name) and node.id in NAMES and isinstance(node.ctx, ast.Load):
        yield _with(node, id=NAMES[node.id])
    if not isinstance(node, ast.Call):
        return
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    if len(node.args) >= 2 and not any(isinstance(a, ast.Starred) for a in node.args[:2]):
        yield _with(node, args=[node.args[1], node.args[0], *node.args[2:]])
    if (
        len(node.args) == 1
        and not node.keywords
        and name not in CONVERSIONS
        and not isinstance(node.args[0], ast.Starred)
    ):
        yield node.args[0]
    if not node.args and not node.keywords and isinstance(node.func, ast.Attribute):
        yield node.func.value
    for i, keyword in enumerate(node.keywords):
        yield _with(node, keywords=node.keywords[:i] + node.keywords[i + 1 :])
        if keyword.arg in ("axis", "dim") and _is_int(keyword.value):
            other = ast.keyword(keyword.arg, ast.Constant(1 if ast.literal_eval(keyword.value) == 0 else 0))
            yield _with(node, keywords=[*node.keywords[:i], other, *node.keywords[i + 1 :]])


def _is_int(node: ast.AST) -> bool:
    try:
        return isinstance(ast.literal_eval(node), int)  # pyright: ignore[reportArgumentType]
    except ValueError:
        return False


def _flow(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, (ast.If, ast.IfExp)):
        yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, ast.Slice):
        for part in ("lower", "upper", "step"):
            if getattr(node, part) is not None:
                yield _with(node, **{part: None})
    if isinstance(node, ast.comprehension):
        for i in range(len(node.ifs)):
            yield _with(node, ifs=node.ifs[:i] + node.ifs[i + 1 :])


def _removal(node: ast.AST) -> Iterator[ast.AST]:
    simple = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Expr, ast.Return, ast.Raise, ast.Break, ast.Continue)
    if isinstance(node, (*simple, ast.If, ast.For, ast.While, ast.Delete)):
        yield ast.Pass()


MUTATIONS: tuple[Callable[[ast.AST], Iterator[ast.AST]], ...] = (
    _operators,
    _signs,
    _constants,
    _calls,
    _flow,
    _removal,
)


def _with(node: ast.AST, **fields: object) -> ast.AST:
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def mutants(source: str, spans: list[tuple[int, int]]) -> Iterator[tuple[str, str]]:
    """(description, source) of each mutant; `spans` are the first and last line of what may be changed."""
    tree = ast.parse(source)
    original, seen = ast.unparse(tree), set()
    for node, parent, field, index in list(_places(tree)):
        if not any(first <= getattr(node, "lineno", 0) <= last for first, last in spans):
            continue
        for mutation in MUTATIONS:
            for new in mutation(node):
                _put(parent, field, index, ast.copy_location(new, node))
                try:
                    changed = ast.unparse(ast.fix_missing_locations(tree))
                finally:
                    _put(parent, field, index, node)
                if changed != original and changed not in seen:
                    seen.add(changed)
                    yield _describe(original, changed), changed


def _places(tree: ast.AST, line: int = 0) -> Iterator[tuple[ast.AST, ast.AST, str, int | None]]:
    """Every node with the place where it hangs; a node without a line number gets its parent's."""
    for field, value in ast.iter_fields(tree):
        if field in ("annotation", "returns", "decorator_list", "exc"):
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if (
                not isinstance(child, ast.AST)
                or isinstance(child, ast.JoinedStr)
                or _is_docstring(tree, field, index, child)
            ):
                continue
            if not hasattr(child, "lineno"):
                child.lineno = line  # pyright: ignore[reportAttributeAccessIssue]
            if not _is_axis(child):
                yield child, tree, field, index
                yield from _places(child, child.lineno)  # pyright: ignore[reportAttributeAccessIssue]


def _is_docstring(parent: ast.AST, field: str, index: int | None, child: ast.AST) -> bool:
    holds_text = (
        isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant) and isinstance(child.value.value, str)
    )
    return holds_text and field == "body" and index == 0 and not isinstance(parent, (ast.If, ast.For))


def _is_axis(node: ast.AST) -> bool:
    """axis=1 is mutated as a whole: -1, 1 and 2 are often the same axis or none."""
    return isinstance(node, ast.keyword) and node.arg in ("axis", "dim") and _is_int(node.value)


def _put(parent: ast.AST, field: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


def _describe(original: str, changed: str) -> str:
    """`return w + x -> return w - x`: the lines that differ."""
    diff = list(difflib.ndiff(original.splitlines(), changed.splitlines()))
    old = "; ".join(line[2:].strip() for line in diff if line.startswith("- "))
    new = "; ".join(line[2:].strip() for line in diff if line.startswith("+ "))
    return f"{old} -> {new or 'nothing'}"
