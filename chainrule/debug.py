"""Looking under the hood: ``chainrule.debug``."""

from .compiled import compilations

__all__ = ["compilations"]
