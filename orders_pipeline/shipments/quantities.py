"""How many pieces of which items a package holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def quantity_by_line(lines: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many pieces of each item; a warehouse may list one item twice."""
    quantities: dict[str, int] = {}
    for line in lines:
        quantities[line["line_ref"]] = quantities.get(line["line_ref"], 0) + int(line["quantity"])
    return quantities


def same_lines(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> bool:
    """Whether two packages hold the same pieces of the same items."""
    return quantity_by_line(one) == quantity_by_line(other)


def share_an_item(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> bool:
    """Whether two packages hold pieces of one item."""
    return bool(quantity_by_line(one).keys() & quantity_by_line(other).keys())
