"""Places in the user's program."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from chainrule.graph import where
from chainrule.graph.where import LONGEST, Where, error, here, is_inside, is_of_user, of_function, user_frame


def line() -> int:
    return sys._getframe(1).f_lineno


def test_here_is_this_line() -> None:
    place, number = here(), line()
    assert place is not None
    assert (place.line, Path(place.path).name, place.function) == (
        number,
        "test_where.py",
        "test_here_is_this_line",
    )
    assert place.source == "place, number = here(), line()"


def test_it_prints_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = here()
    assert place is not None
    folder = Path(__file__).parent
    monkeypatch.chdir(folder)
    assert str(place) == f"test_where.py:{place.line}"
    monkeypatch.chdir(folder.parent)
    assert str(place) == f"{folder.name}{os.sep}test_where.py:{place.line}"
    monkeypatch.chdir(tmp_path)
    assert str(place) == f"{__file__}:{place.line}"


def test_the_variable_that_a_value_goes_to() -> None:
    first = here()
    second = [here()][0]  # what is assigned is another value
    assert first is not None and second is not None
    assert (first.name, second.name) == ("first", None)


def test_libraries_and_this_package_are_inside() -> None:
    assert is_inside(where.__file__)
    assert is_inside(np.__file__)
    assert not is_inside(__file__)
    assert not is_inside("<stdin>")
    frame = user_frame()
    assert frame is not None
    assert frame.f_code.co_filename == __file__


def test_frames_of_libraries_are_passed_over() -> None:
    places = []
    np.apply_along_axis(lambda row: places.append(here()) or 0.0, 0, np.zeros((1, 1)))
    (place,) = places
    assert place is not None
    assert Path(place.path).name == "test_where.py"


def test_equal_places_are_equal() -> None:
    a, b = here(), here()
    c = here()
    assert a == b and hash(a) == hash(b)
    assert a != c and a != "elsewhere"


def test_an_error_ends_with_the_line() -> None:
    problem, number = error(ValueError, "wrong"), line()
    assert type(problem) is ValueError
    ending = f'test_where.py:{number}: `problem, number = error(ValueError, "wrong"), line()`)'
    assert str(problem).startswith("wrong (at ")
    assert str(problem).endswith(ending)
    assert is_of_user(problem)
    assert not is_of_user(ValueError("wrong"))
    assert not is_of_user(None)


def test_long_lines_are_shortened() -> None:
    place = here(); text = "................................................................................................"  # noqa: E501, E702, F841  # fmt: skip
    assert place is not None
    assert len(place.source) == LONGEST and place.source.endswith(" …")


def test_a_line_without_source() -> None:
    namespace: dict[str, object] = {"here": here, "error": error}
    exec(compile("def f():\n    return here(), error(TypeError, 'wrong')\n", "<made up>", "exec"), namespace)
    place, problem = namespace["f"]()  # type: ignore[operator]
    assert str(place) == "<made up>:2"
    assert str(problem) == "wrong (at <made up>:2)"


def test_of_a_function() -> None:
    found = of_function(line)
    assert found is not None
    assert found.line == line.__code__.co_firstlineno
    assert of_function(np.sin) is None
    assert of_function(where.here) is None

    def wrapper() -> None: ...

    wrapper.__wrapped__ = line  # type: ignore[attr-defined]
    assert of_function(wrapper) == found


def test_places_of_a_long_function_cost_the_same() -> None:
    source = "def f(here):\n    found = []\n" + "    found.append(here())\n" * 2000 + "    return found\n"
    namespace: dict[str, object] = {}
    exec(compile(source, "<long>", "exec"), namespace)
    places = namespace["f"](here)  # type: ignore[operator]
    assert [p.line for p in places[:3]] == [3, 4, 5]
    assert places[-1].line == 2002
    assert all(type(p) is Where for p in places)
