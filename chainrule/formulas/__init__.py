"""Derivatives as formulas that people read. Nothing of it is imported before a formula is asked for."""

from chainrule.compiled import describe_with

from .first_line import first_line

describe_with(first_line)
