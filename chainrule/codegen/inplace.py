"""Which updates of a loop's carry may change its memory: else every step would copy the array."""

from __future__ import annotations

from chainrule.graph.node import Graph, Node
from chainrule.graph.op import Insert, Scatter

from .fuse import Plan, is_array, plan

__all__ = ["updates_of"]


def updates_of(graph: Graph, output: Node, carry: Node) -> list[Node]:
    """The scatters and inserts from ``carry`` to ``output``, if all of them may change the carry's memory.

    They may where everything else that reads what an update changes has been computed before. Empty if they
    may not.
    """
    chain: list[Node] = []
    node = output
    while node is not carry:
        if not isinstance(node.op, (Scatter, Insert)):
            return []
        chain.append(node)
        node = node.args[0]
    if not chain:
        return []
    planned = plan(graph)
    readers: dict[Node, list[Node]] = {}
    for reader in graph.nodes:
        for arg in dict.fromkeys(reader.args):
            readers.setdefault(arg, []).append(reader)
    free = all(_is_last_reader(graph, planned, readers, update, output) for update in chain)
    return chain if free else []


def _is_last_reader(
    graph: Graph, planned: Plan, readers: dict[Node, list[Node]], update: Node, output: Node
) -> bool:
    base = update.args[0]
    if base in graph.outputs or (update is not output and update in graph.outputs) or base in update.args[1:]:
        return False
    # The stage in which the memory changes.
    stage = planned.after[update] - 1
    seen, stack = {base}, [base]
    while stack:
        node = stack.pop()
        for reader in readers.get(node, ()):
            if reader is update:
                if node is not base:
                    return False
            elif is_array(reader) and reader not in planned.stored:
                if reader not in seen:
                    seen.add(reader)
                    stack.append(reader)
            elif planned.after[reader] > stage:
                return False
    return True
