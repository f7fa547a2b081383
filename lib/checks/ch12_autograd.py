"""Checks of chapter 12, automatic differentiation: exercises 12.1 and 12.2, the engine of numbers."""

from __future__ import annotations

from collections import deque

from lib.checks import Case, Exercise, Misconception
from lib.grad.scalar import Node, add, backward, topological_order

# 12.1 -------------------------------------------------------------------------------------------

FORMULAS = {
    "x * y": lambda mul, x, y: mul(x, y),
    "x * x": lambda mul, x, y: mul(x, x),
    "(x * y) * x": lambda mul, x, y: mul(mul(x, y), x),
    "x * y + y * y": lambda mul, x, y: add(mul(x, y), mul(y, y)),
}


def _use_mul(mul, formula, x, y):
    def checked(a, b):
        out = mul(a, b)
        if not isinstance(out, Node):
            raise TypeError(f"mul must return the new Node, but it returned {out!r}")
        return out

    x, y = Node(x), Node(y)
    out = FORMULAS[formula](checked, x, y)
    idle = Node(0.0)._backward.__code__
    has_own = getattr(checked(x, y)._backward, "__code__", None) is not idle
    backward(out)
    return {
        "the result": out.data,
        "nodes in the graph": len(topological_order(out)),
        "the product has its own _backward": has_own,
        "x.grad": x.grad,
        "y.grad": y.grad,
    }


def _product(slopes=lambda a, b: (b.data, a.data), send=None, parents=True, attach=True):
    """A `mul` with one thing changed: the slopes, how a gradient is stored, whether parents or closure are kept."""

    def store(node, slope, grad):
        node.grad += slope * grad

    send = send or store

    def mul(a, b):
        out = Node(a.data * b.data, (a, b) if parents else (), "*")

        def _backward():
            for node, slope in zip((a, b), slopes(a, b), strict=True):
                send(node, slope, out.grad)

        if attach:
            out._backward = _backward
        return out

    return mul


def _overwrite(node, slope, grad):
    node.grad = slope * grad


def _without_above(node, slope, grad):
    node.grad += slope


def _mul_grad_of_factor(a, b):
    out = Node(a.data * b.data, (a, b), "*")

    def _backward():
        a.grad += b.data * b.grad
        b.grad += a.data * a.grad

    out._backward = _backward
    return out


def _mul_called(a, b):
    out = Node(a.data * b.data, (a, b), "*")
    out.__dict__["_backward"] = None  # what `out._backward = _backward()` leaves there
    return out


def _formula_case(rng):
    x, y = rng.uniform(1.5, 4, size=2) * rng.choice([-1, 1], size=2)
    return str(rng.choice(list(FORMULAS))), float(x), float(y)


MUL = Exercise(
    "12.1",
    "A product that passes its gradient on",
    minutes=10,
    difficulty=1,
    reference=_product(),
    use=_use_mul,
    cases=[_formula_case, *(Case(formula, formula, 3.0, -2.0) for formula in FORMULAS)],
    misconceptions=[
        Misconception(
            "stores the gradient with = where it must be added with +=",
            _product(send=_overwrite),
            why="When a node is used twice, as in x * x, the second message wipes out the first. The chain rule "
            "adds them.",
            look="section 4 of 12_autograd, 'A number used twice'",
        ),
        Misconception(
            "multiplies each gradient by the factor itself instead of by the other factor",
            _product(slopes=lambda a, b: (a.data, b.data)),
            why="The product a * b changes by b when a changes by 1. So a receives b, and b receives a.",
            look="section 3 of 12_autograd, the table of the two rules",
        ),
        Misconception(
            "forgets to multiply by out.grad",
            _product(send=_without_above),
            why="The local derivative says how `out` changes. How the end of the graph changes is out.grad times that.",
            look="section 3 of 12_autograd, 'message = local derivative x gradient of the result'",
        ),
        Misconception(
            "multiplies by the gradient of a factor where out.grad is needed",
            _mul_grad_of_factor,
            why="The gradients of a and b are what we want to find; they are still 0. What is known is the "
            "gradient of "
            "the result, out.grad.",
            look="section 3 of 12_autograd, the table of the two rules",
        ),
        Misconception(
            "does not tell the new node what it was made from",
            _product(parents=False),
            why="Without its parents the node is a dead end: the walk back through the graph never finds a and b.",
            look="section 2 of 12_autograd: Node(data, (a, b), op)",
        ),
        Misconception(
            "never hands the closure to the new node",
            _product(attach=False),
            why="A function inside a function is made anew with each call and lost at the end. `out._backward = "
            "_backward` keeps it.",
            look="section 3 of 12_autograd, the cell of `add`",
        ),
        Misconception(
            "calls _backward at once instead of storing it",
            _mul_called,
            why="With brackets, `_backward()` runs now, before any gradient exists, and stores its result, None. "
            "Store the function: no brackets.",
            look="section 3 of 12_autograd, the cell of `add`",
        ),
    ],
    hints=(
        "By how much does a * b change when a grows by a tiny step and b stays where it is?",
        "Make the node first. Then write a function without arguments that adds a message to a.grad and one to "
        "b.grad, and store it in out._backward.",
        "The message to a is b.data * out.grad. The message to b is its mirror image. Use += for both.",
    ),
    names=("formula", "x", "y"),
)


# 12.2 -------------------------------------------------------------------------------------------


def _build(inputs):
    """The nodes of {name: names of its inputs}; the last name is the root."""
    nodes: dict[str, Node] = {}
    for name, used in inputs.items():
        nodes[name] = Node(0.0, tuple(nodes[u] for u in used), name)
    return nodes


def _use_order(order, inputs):
    nodes = _build(inputs)
    names = {id(node): name for name, node in nodes.items()}
    listed = order(list(nodes.values())[-1])
    if listed is None:
        return None
    if not isinstance(listed, (list, tuple)):
        raise TypeError(f"order must return a list of nodes, but it returned a {type(listed).__name__}")
    if not all(id(node) in names for node in listed):
        raise TypeError("the list must hold the nodes of the graph, and nothing else")
    at = {names[id(node)]: i for i, node in reversed(list(enumerate(listed)))}  # where each node stands first
    early = [n for n in at if any(at[n] < at.get(u, -1) for u in inputs[n])]
    return {
        "nodes listed": " ".join(sorted(names[id(node)] for node in listed)),
        "listed before one of their inputs": " ".join(sorted(early)),
    }


def _order_recursive(root):
    order, seen = [], set()

    def visit(node):
        if node in seen:
            return
        seen.add(node)
        for parent in node._prev:
            visit(parent)
        order.append(node)

    visit(root)
    return order


def _order_by_counting(root):
    """Kahn's way: a node is ready when every node that uses it has been taken."""
    uses = {node: 0 for node in topological_order(root)}
    for node in uses:
        for parent in node._prev:
            uses[parent] += 1
    ready, taken = [root], []
    while ready:
        node = ready.pop()
        taken.append(node)
        for parent in node._prev:
            uses[parent] -= 1
            if uses[parent] == 0:
                ready.append(parent)
    return taken[::-1]


def _order_preorder(root):
    order = []

    def visit(node):
        if node not in order:
            order.append(node)
            for parent in node._prev:
                visit(parent)

    visit(root)
    return order


def _order_twice(root):
    return [node for parent in root._prev for node in _order_twice(parent)] + [root]


def _order_breadth(root):
    order, queue, seen = [], deque([root]), {root}
    while queue:
        node = queue.popleft()
        order.append(node)
        for parent in node._prev:
            if parent not in seen:
                seen.add(parent)
                queue.append(parent)
    return order[::-1]


def _random_graph(rng):
    names = "abcdefgh"[: int(rng.integers(4, 9))]
    inputs: dict[str, tuple[str, ...]] = {names[0]: (), names[1]: ()}
    for i, name in enumerate(names[2:], start=2):  # each node uses the one before, so that all lead to the root
        other = names[int(rng.integers(0, i - 1))]
        inputs[name] = (names[i - 1], other) if rng.random() < 0.5 else (other, names[i - 1])
    return (inputs,)


ORDER = Exercise(
    "12.2",
    "Inputs first",
    minutes=15,
    difficulty=2,
    reference=topological_order,
    use=_use_order,
    cases=[
        _random_graph,
        Case("one node", {"a": ()}),
        Case("a chain", {"a": (), "b": ("a",), "c": ("b",)}),
        Case("a node used twice by the same product", {"a": (), "b": ("a", "a")}),
        Case("a short and a long way to the same node", {"a": (), "b": ("a",), "c": ("b", "a")}),
        Case("the short way first", {"a": (), "b": ("a",), "c": ("b",), "d": ("a", "c")}),
        Case("a diamond", {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}),
        Case("a skip over two", {"a": (), "b": ("a",), "c": ("b",), "d": ("c", "b"), "e": ("b", "d")}),
    ],
    misconceptions=[
        Misconception(
            "lists a node when it first meets it, before its inputs",
            _order_preorder,
            why="A node may be listed only after everything it was made from. Append it after the visits to its "
            "inputs, not before.",
            look="section 5 of 12_autograd, 'Inputs first'",
        ),
        Misconception(
            "lists a node on the way down and turns the list round at the end",
            lambda root: _order_preorder(root)[::-1],
            why="Turning it round helps on a chain, but where two ways of different length lead to one node, "
            "that node still comes too late.",
            look="section 5 of 12_autograd, the figure with the red arrow",
        ),
        Misconception(
            "visits a shared node once for every use",
            _order_twice,
            why="Its closure would run twice, and everything below it would be counted twice. Remember which "
            "nodes you have seen.",
            look="section 5 of 12_autograd, the set `seen`",
        ),
        Misconception(
            "goes through the graph level by level (breadth first)",
            _order_breadth,
            why="A level counts the shortest way to the root. A node that also lies on a longer way is then used "
            "before it is ready.",
            look="section 5 of 12_autograd, the figure with the red arrow",
        ),
        Misconception(
            "gives the order for the backward pass, with the root first",
            lambda root: topological_order(root)[::-1],
            why="The exercise asks for the forward order: inputs first, root last. `backward` is what turns it round.",
            look="section 5 of 12_autograd, the cell of `backward`",
        ),
    ],
    hints=(
        "Which node can you list first, because it waits for nothing? Which one must come last?",
        "Write an inner function visit(node): do nothing if the node was seen; otherwise visit its inputs and "
        "then append the node.",
        "seen.add(node); for parent in node._prev: visit(parent); order.append(node). Then call visit(root) and "
        "return order.",
    ),
    alternatives=[_order_recursive, _order_by_counting],
    names=("inputs of each node",),
)


EXERCISES = [MUL, ORDER]
