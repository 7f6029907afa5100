"""Structured control flow under the names of ``jax.lax``."""

from .graph.control import cond, fori_loop, map, scan, switch, while_loop

__all__ = ["cond", "fori_loop", "map", "scan", "switch", "while_loop"]
