"""Every Python block of README.md runs, in order, and prints what its comments say."""

import keyword
import re
from pathlib import Path
from typing import Any

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
PRINTED = re.compile(r"^print\(.*\)\s*# (.*)$", flags=re.MULTILINE)


def test_blocks_print_what_they_say(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert BLOCKS
    names: dict[str, Any] = {"__name__": "readme"}
    for number, block in enumerate(BLOCKS):
        file = tmp_path / f"block{number}.py"  # control flow is converted from the source
        file.write_text(block, encoding="utf-8")
        exec(compile(block, file, "exec"), names)
        assert capsys.readouterr().out.splitlines() == PRINTED.findall(block)


def test_public_names_exist() -> None:
    """The table of functions names nothing that chainrule lacks."""
    import chainrule as cr

    table = README.partition("## What it does\n")[2].partition("## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)} - set(keyword.kwlist)
    assert len(named) > 10
    assert {name for name in named if not hasattr(cr, name)} == set()
