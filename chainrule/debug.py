"""Looking under the hood: ``chainrule.debug``."""

from .codegen.tiers import settle
from .compiled import compilations

__all__ = ["compilations", "settle"]
