"""How the documentation is built: `python -m sphinx -W docs docs/_build`."""

from importlib.metadata import version as version_of

project = "chainrule"
author = "The chainrule developers"
copyright = author
version = release = version_of("chainrule")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"chainrule {version}"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"members": True, "show-inheritance": False}
default_role = "code"
nitpicky = False
