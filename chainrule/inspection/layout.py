"""Places of nodes in a drawing: layers from arguments to results, with few crossings.

Sugiyama, Tagawa & Toda, IEEE Trans. Syst. Man Cybern. 11 (1981) 109: layers by the longest path, the order within
them by the mean place of the neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SWEEPS = 8
GAP_X, GAP_Y = 14.0, 44.0


def layers_of(order: Sequence[int], sources: Mapping[int, Sequence[int]]) -> list[list[int]]:
    """Items (in an order where sources come first) by the longest path that leads to them."""
    depth: dict[int, int] = {}
    users = users_of(order, sources)
    for item in order:
        depth[item] = 1 + max((depth[s] for s in sources[item]), default=-1)
    for item in order:  # what needs nothing and is needed once (a constant) stands just above where it is needed
        needed = users[item]
        if not sources[item] and len(needed) == 1:
            depth[item] = depth[needed[0]] - 1
    found: list[list[int]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for item in order:
        found[depth[item]].append(item)
    return found


def users_of(order: Sequence[int], sources: Mapping[int, Sequence[int]]) -> dict[int, list[int]]:
    """For each item, the items that it is a source of."""
    users: dict[int, list[int]] = {item: [] for item in order}
    for item in order:
        for source in sources[item]:
            users[source].append(item)
    return users


def place(
    order: Sequence[int], sources: Mapping[int, Sequence[int]], widths: Mapping[int, float]
) -> tuple[dict[int, tuple[float, float]], float, float]:
    """(centre of each item, width and height of the drawing)."""
    layers = layers_of(order, sources)
    users = users_of(order, sources)
    for sweep in range(SWEEPS):
        neighbours, passes = (sources, layers[1:]) if sweep % 2 == 0 else (users, layers[-2::-1])
        for layer in passes:
            rank = {item: i / max(1, len(row)) for row in layers for i, item in enumerate(row)}
            own = {item: _mean([rank[n] for n in neighbours[item]], rank[item]) for item in layer}
            layer.sort(key=own.__getitem__)
    total = max((sum(widths[i] + GAP_X for i in layer) for layer in layers), default=0.0)
    centres = {}
    for level, layer in enumerate(layers):
        used = sum(widths[i] for i in layer)
        gap = (total - used) / (len(layer) + 1)
        x = gap
        for item in layer:
            centres[item] = (x + widths[item] / 2, GAP_Y * (level + 0.5))
            x += widths[item] + gap
    return centres, total, GAP_Y * len(layers)


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default
