"""Graph → machine code: lower, verify, emit, compile."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Final

from chainrule.graph import dim as dims
from chainrule.graph.dim import Atom, Dim, Size
from chainrule.graph.node import Graph
from chainrule.graph.op import Type

from .signature import DTYPES, Argument, Signature, SizeExpr, Tree
from .tiers import CompiledKernel
from .unsupported import Unsupported

__all__ = ["CompiledKernel", "Unsupported", "compile_graph"]

LARGE: Final = 1_000_000
"""Elements of the inputs from which on nested loops are compiled well at once."""


def compile_graph(
    graph: Graph, name: str, hidden: int = 0, tree: Tree | None = None, *, well: bool = False
) -> CompiledKernel:
    """The native kernel of a graph, of which the last ``hidden`` inputs are hidden ones.

    A kernel that would take LLVM long is compiled fast at first, unless ``well`` is asked for; `tiers` improves it.

    ``tree`` says how a caller gets the results (default: the one result, or a tuple of them). Raises
    `Unsupported` for what has no native code, with the place in the user's program.

    >>> from chainrule.codegen.function import call
    >>> from chainrule.graph.dtype import FLOAT64
    >>> from chainrule.graph.node import make
    >>> from chainrule.graph.op import Input
    >>> x = make(Input(0, 0, Type((), FLOAT64)))
    >>> kernel = compile_graph(Graph([x.type], [x * x]), "square")
    >>> float(call(kernel.address, kernel.signature, [3.0], []))
    9.0
    """
    from . import tiers
    from .lower import lower
    from .pressure import with_low_pressure
    from .sections import in_sections
    from .to_llvm import emit, suggested_level
    from .verify import verify

    kernel = in_sections(with_low_pressure(lower(graph, name)))
    signature = signature_of(graph, hidden, tree, kernel.workspace)
    verify(kernel)
    text = emit(kernel, threads=True)
    level = suggested_level(kernel)
    return tiers.compiled(kernel, signature, text, level, well=well or (level == 2 and _is_large(graph)))


def _is_large(graph: Graph) -> bool:
    """Whether the first call is on so much data that nested loops without any optimisation would be felt."""
    sizes = [dims.product(kind.shape) for kind in graph.inputs]
    return sum(n for n in sizes if isinstance(n, int)) > LARGE


def signature_of(graph: Graph, hidden: int = 0, tree: Tree | None = None, workspace: Dim = 0) -> Signature:
    """What a caller of the graph's kernel has to know."""
    from .lower import size_names

    shown = len(graph.inputs) - hidden
    results = tuple(_argument(node.type, f"result {k}") for k, node in enumerate(graph.outputs))
    inputs = [_input(kind, graph.names[k]) for k, kind in enumerate(graph.inputs)]
    if tree is None:
        tree = 0 if len(results) == 1 else tuple(range(len(results)))
    space = None if workspace == 0 else _size(workspace)
    return Signature(tuple(inputs[:shown]), tuple(inputs[shown:]), size_names(graph), results, tree, space)


def _input(kind: Type, name: str) -> Argument:
    for dim in kind.shape:
        if isinstance(dim, Size) and not _is_name(dim):
            raise Unsupported(
                f"the argument {name} has the size {dim}, which a kernel cannot read off its arguments; "
                "give that axis a name of its own"
            )
    return _argument(kind, name)


def _argument(kind: Type, what: str) -> Argument:
    if kind.dtype.name not in DTYPES:
        raise Unsupported(
            f"{what} has elements of type {kind.dtype.name}; native kernels take {', '.join(DTYPES)}"
        )
    return Argument(kind.dtype.name, tuple(_size(d) for d in kind.shape))


def _is_name(dim: Size) -> bool:
    (monomial, coefficient), *rest = dim.terms
    return not rest and coefficient == 1 and len(monomial) == 1 and monomial[0].kind == "name"


def _size(dim: Dim) -> SizeExpr:
    """A dimension in the language of signatures.

    >>> from chainrule.graph.dim import size
    >>> _size(2 * size("n") - 1)
    ('+', ('*', 2, 'n'), -1)
    """
    if isinstance(dim, int):
        return dim
    terms = []
    for monomial, coefficient in dim.terms:
        factors: list[SizeExpr] = [_atom(atom) for atom in monomial]
        if coefficient != 1 or not factors:
            factors.insert(0, coefficient)
        terms.append(_joined("*", factors))
    return _joined("+", terms)


def _atom(atom: Atom) -> SizeExpr:
    if atom.kind == "name":
        return atom.name
    return (atom.kind, _size(atom.left), _size(atom.right))


def _joined(operator: str, parts: Sequence[SizeExpr]) -> SizeExpr:
    return reduce(lambda a, b: (operator, a, b), parts)
