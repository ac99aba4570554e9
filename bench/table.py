"""How benchmarks report: a table for people, one JSON object a line for machines.

Each row is a ratio of two figures of the same run, so that it holds on a noisy machine.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).with_name("results.jsonl")


@dataclass(frozen=True, slots=True)
class Row:
    """One line: what, our figure, the reference's, ours by the reference's, and what it should be."""

    name: str
    ours: float
    reference: float
    ratio: float
    goal: str


def row(name: str, ours: float, reference: float, goal: str) -> Row:
    """A row with its ratio worked out."""
    return Row(name, round(ours, 3), round(reference, 3), round(ours / reference, 3) if reference else 0.0, goal)


def notify(sentence: str) -> None:
    """How far a long benchmark is, beside the table."""
    Console(stderr=True, highlight=False).print(sentence)


def report(title: str, rows: Sequence[Row], results: Path) -> None:
    """Show the rows, and append them to the results."""
    table = Table(title=title)
    table.add_column("benchmark")
    for column in ("ours", "reference", "ratio", "goal"):
        table.add_column(column, justify="right")
    for one in rows:
        table.add_row(one.name, f"{one.ours:,.6g}", f"{one.reference:,.6g}", f"{one.ratio:.3f}", one.goal)
    Console().print(table)
    with results.open("a", encoding="utf-8") as file:
        for one in rows:
            file.write(json.dumps(asdict(one)) + "\n")
