"""Structured control flow under the names of ``jax.lax``."""

from .graph.associative import associative_scan
from .graph.control import cond, fori_loop, map, scan, switch, while_loop

__all__ = ["associative_scan", "cond", "fori_loop", "map", "scan", "switch", "while_loop"]
