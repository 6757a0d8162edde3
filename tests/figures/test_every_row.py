"""Every row of table B has its test, and the verdicts are checks that can fail."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from documented import Figure, follows, last_digit

ROWS = {1: 16, 2: 11, 3: 15, 4: 19, 5: 14, 6: 12}  # section -> its rows; B7 has no numbered ones
RECIPES = {"B4.6", "B5.12"}  # of training


def written(path: Path) -> str:
    """A test file's strings, docstrings of tests among them; its own and its comments are no tests."""
    tree = ast.parse(path.read_text())
    return "\n".join(
        node.value
        for node in ast.walk(ast.Module(tree.body[1:], []))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def test_every_row_is_named_by_a_test():
    files = [path for path in Path(__file__).parent.glob("test_*.py") if path.name != Path(__file__).name]
    text = "\n".join(map(written, files))
    named = set(re.findall(r"\bB\d\.\d+\b", text))
    for section, low, high in re.findall(r"B(\d)\.(\d+) to B\d\.(\d+)", text):
        named |= {f"B{section}.{n}" for n in range(int(low), int(high) + 1)}
    wanted = {f"B{section}.{n}" for section, count in ROWS.items() for n in range(1, count + 1)}
    assert named == wanted - RECIPES


@pytest.mark.parametrize("number, unit", [(62_000_000, 10**6), (35_000, 1000), (4_096, 1), (0, 1), (2.39, 0.01)])
def test_the_last_digit_printed(number, unit):
    assert last_digit(number) == pytest.approx(unit)


@pytest.mark.parametrize(
    "verdict, printed, true, holds",
    [
        ("right", 55, 55, True),
        ("right", 55, 56, False),
        ("rounded", 35_000, 34_848, True),
        ("rounded", 34_000, 34_848, False),
        ("rounded", (1_000, 20), (1_400, 17), True),
        ("rounded", (1_000, 20), (1_400, 27), False),
        ("truncated", 16_000_000, 16_781_312, True),
        ("truncated", 17_000_000, 16_781_312, False),
        ("wrong", 529_000, 526_848, True),
        ("wrong", 527_000, 526_848, False),
        ("wrong", 526_000, 526_848, False),
        ("misleading", 0, 1, True),
        ("inconsistent", 1, 1, False),
        ("derived", None, 1, True),
        ("derived", 1, 1, False),
    ],
)
def test_verdicts(verdict, printed, true, holds):
    assert follows(verdict, printed, true) is holds


def test_a_figure_fails_where_the_library_says_something_else():
    with pytest.raises(AssertionError, match="B0.0: the library says 2, the true value is 1"):
        Figure("B0.0", "000", "one", 1, "right", 1, lambda: 2).check()
    with pytest.raises(AssertionError, match="3 is not right beside 1"):
        Figure("B0.0", "000", "one", 3, "right", 1, lambda: 1).check()
