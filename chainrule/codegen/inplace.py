"""Which updates of a loop's carry may change its memory: else every step would copy the array."""

from __future__ import annotations

from chainrule.graph.node import Graph, Node
from chainrule.graph.op import Insert, Loop, Project, Scatter

from .fuse import Plan, is_array, plan

__all__ = ["updates_of"]


def updates_of(graph: Graph, output: Node, carry: Node) -> list[Node]:
    """The updates from ``carry`` to ``output``, if all of them may change the carry's memory.

    They are scatters, inserts, and results of loops inside that carry the array on. They may where everything
    else that reads what an update changes has been computed before. Empty if they may not.
    """
    chain: list[tuple[Node, Node]] = []  # an update, and what it changes
    node = output
    while node is not carry:
        base = _base(node)
        if base is None:
            return []
        chain.append((node, base))
        node = base
    if not chain:
        return []
    planned = plan(graph)
    readers: dict[Node, list[Node]] = {}
    for reader in graph.nodes:
        for arg in dict.fromkeys(reader.args):
            readers.setdefault(arg, []).append(reader)
    free = all(_is_last_reader(graph, planned, readers, update, base, output) for update, base in chain)
    return [update for update, _ in chain] if free else []


def _base(node: Node) -> Node | None:
    """What an update changes: the base of a scatter or insert, the start of a loop's carry."""
    match node.op:
        case Scatter() | Insert():
            return node.args[0]
        case Project(index) if isinstance(node.args[0].op, Loop):
            loop = node.args[0]
            op = node.args[0].op
            first = 0 if op.condition == "predicate" else 1
            return loop.args[first + index] if index < op.carries else None
        case _:
            return None


def _is_last_reader(
    graph: Graph, planned: Plan, readers: dict[Node, list[Node]], update: Node, base: Node, output: Node
) -> bool:
    changing = update.args[0] if isinstance(update.op, Project) else update
    if base in graph.outputs or (update is not output and update in graph.outputs):
        return False
    if changing.args.count(base) > 1:
        return False
    # The stage in which the memory changes.
    stage = planned.after[changing] - 1
    seen, stack = {base}, [base]
    while stack:
        node = stack.pop()
        for reader in readers.get(node, ()):
            if reader is changing:
                if node is not base and not _is_start(changing, node):
                    return False
            elif is_array(reader) and reader not in planned.stored:
                if reader not in seen:
                    seen.add(reader)
                    stack.append(reader)
            elif planned.after[reader] > stage:
                return False
    return True


def _is_start(node: Node, value: Node) -> bool:
    """Whether a loop reads an array only as the start of carries: it is there before the first step."""
    op = node.op
    if not isinstance(op, Loop):
        return False
    first = 0 if op.condition == "predicate" else 1
    return value not in node.args[:first] and value not in node.args[first + op.carries :]
