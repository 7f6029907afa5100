"""Which products and sums are one fused multiply-add: decided on the graph, so that all tiers round alike."""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.graph.dtype import FLOAT64, is_float
from chainrule.graph.node import Graph, Node
from chainrule.graph.op import Reduce, Scalar

__all__ = ["Fused", "fused_products", "summed_logs"]


@dataclass(frozen=True, slots=True)
class Fused:
    """a·b + c in place of a sum or difference: signs of the product and of ``c``."""

    a: Node
    b: Node
    c: Node
    negative_product: bool
    negative_addend: bool


def fused_products(graph: Graph) -> tuple[set[Node], dict[Node, Fused], dict[Node, tuple[Node, Node]]]:
    """The products that only one sum or difference reads, and what those become one operation with.

    Third, the reductions that add up products nobody else reads, with the factors.
    """
    uses = _uses(graph)
    absorbed: set[Node] = set()
    fused: dict[Node, Fused] = {}
    summed: dict[Node, tuple[Node, Node]] = {}
    for node in graph.nodes:
        op = node.op
        if type(op) is Reduce and op.kind == "sum" and is_float(node.dtype):
            factors = _factors(node.args[0])
            if factors is not None and uses[node.args[0]] == 1:
                summed[node] = factors
        if type(op) is not Scalar or op.name not in ("add", "sub") or not is_float(node.dtype):
            continue
        for k, product in enumerate(node.args):
            factors = _factors(product)
            if (
                factors is None
                or uses[product] > 1
                or product.shape != node.shape
                or product.dtype != node.dtype
            ):
                continue
            other = node.args[1 - k]
            if other is product:
                continue
            minus = op.name == "sub"
            fused[node] = Fused(*factors, other, minus and k == 1, minus and k == 0)
            absorbed.add(product)
            break
    return absorbed, fused, summed


def summed_logs(graph: Graph) -> set[Node]:
    """The sums of logarithms that nobody else reads, which may be taken as logarithms of products."""
    uses = _uses(graph)
    return {
        node for node in graph.nodes
        if type(node.op) is Reduce and node.op.kind == "sum" and _is_log(node.args[0]) and uses[node.args[0]] == 1
    }  # fmt: skip


def _is_log(node: Node) -> bool:
    op = node.op
    return type(op) is Scalar and op.name == "log" and node.dtype == node.args[0].dtype == FLOAT64


def _uses(graph: Graph) -> dict[Node, int]:
    uses: dict[Node, int] = {}
    for node in graph.nodes:
        for arg in node.args:
            uses[arg] = uses.get(arg, 0) + 1
    for node in graph.outputs:
        uses[node] = uses.get(node, 0) + 1
    return uses


def _factors(node: Node) -> tuple[Node, Node] | None:
    if type(node.op) is Scalar:
        if node.op.name == "mul":
            return node.args[0], node.args[1]
        if node.op.name == "square":
            return node.args[0], node.args[0]
    return None
