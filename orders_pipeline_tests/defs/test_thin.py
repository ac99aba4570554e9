"""What Dagster shows is thin: a body calls a domain's function or an operation, and shows its numbers."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from orders_pipeline_tests.read_source import PACKAGE

# An operation of a person's also takes its configuration apart; a sensor has to skip, to ask for runs, and to say why
# it asks for none; a group of checks lists what it evaluates.
LONGEST_BODY = {
    "asset": 12, "multi_asset": 12, "job": 12, "op": 14, "schedule": 16, "sensor": 20, "multi_asset_check": 34,
}  # fmt: skip


def _bodies() -> Iterator[tuple[str, str, int]]:
    """(kind, module.function, lines of its body without the docstring) of each function that Dagster calls."""
    for path in sorted((PACKAGE / "defs").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef):
                for decorator in node.decorator_list:
                    call = decorator.func if isinstance(decorator, ast.Call) else decorator
                    if isinstance(call, ast.Attribute) and ast.unparse(call.value) == "dg":
                        body = node.body[1:] if ast.get_docstring(node) else node.body
                        lines = body[-1].end_lineno - body[0].lineno + 1 if body and body[-1].end_lineno else 0
                        yield call.attr, f"{path.stem}.{node.name}", lines


@pytest.mark.parametrize(("kind", "name", "lines"), list(_bodies()))
def test_each_body_is_short(kind: str, name: str, lines: int):
    assert lines <= LONGEST_BODY[kind], name
