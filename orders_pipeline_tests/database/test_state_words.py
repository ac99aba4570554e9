"""A word that stands for a state, a reason or a source is one that the code declares: in SQL, in indexes, in sets.

The SQL is read with simple patterns: a state compared with a column of another name would not be found.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import orders_pipeline
from orders_pipeline.alerts.rows import SEVERITIES
from orders_pipeline.database.metadata import metadata
from orders_pipeline.fulfillment import eligibility
from orders_pipeline.fulfillment.states import State
from orders_pipeline.model.order import Priority
from orders_pipeline.orders.account_starts import PURCHASED_BEFORE_START
from orders_pipeline.shipments.states import PackageState

PACKAGE = Path(orders_pipeline.__file__).parent
ORDER_STATES, PACKAGE_STATES = frozenset(map(str, State)), frozenset(map(str, PackageState))
HOLD_REASONS = frozenset(
    {PURCHASED_BEFORE_START}
    | {value for name, value in vars(eligibility).items() if isinstance(value, str) and value == name.lower()}
)
# A search is for one of these; so is an event that it found. The other events are told, or asked for by a person.
PURPOSES = frozenset({Priority.SWEEP.value, Priority.BACKFILL.value})
SOURCES = PURPOSES | {"notification", "recovery"}

_WORD = r"'([a-z_]+)'"
_COMPARED = re.compile(rf"(?:\b(\w+)\.)?\bstate (?:=|<>|(?:not )?in)\s*\(?({_WORD}(?:,\s*{_WORD})*)")
_EVENT_SOURCE = re.compile(rf"\bsource (?:=|<>|(?:not )?in)\s*\(?({_WORD}(?:,\s*{_WORD})*)")
_HELD_FOR = re.compile(rf"{_WORD} = any\((?:\w+\.)?hold_reasons\)")
# The sets that floors above `fulfillment` and below it compare a fulfillment order's state with.
SETS_OF_ORDER_STATES = {
    "intake.apply_events": ("_LEFT",),
    "intake.save": ("NEEDS_DETAILS", "_AT_THE_WAREHOUSE"),
    "privacy.retention.clock": ("_HELD", "_NOT_TAKEN", "_IN_WORK"),
}


def _texts() -> Iterator[tuple[str, str]]:
    """Every text in the code, with where it stands; the parts of one that is put together are joined."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if "sandbox" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            where = f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else " " for part in node.values)
                yield where, "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield where, node.value
    for path in PACKAGE.rglob("tables.py"):
        if path.parent.name == "defs":  # shown tables, not stored ones
            continue
        importlib.import_module(".".join(["orders_pipeline", *path.relative_to(PACKAGE).with_suffix("").parts]))
    for table in metadata.tables.values():
        for index in table.indexes:
            condition = index.dialect_options["postgresql"]["where"]
            if condition is not None:
                yield str(index.name), f"from {table.fullname} where {condition}"


def _words(found: re.Match[str], group: int) -> list[str]:
    return re.findall(_WORD, found.group(group))


def _states_of(text: str) -> frozenset[str]:
    """Which machine's states a text is about: by the tables that it names, or either's."""
    orders, packages = "fulfillment_queue" in text, "shipment_confirmations" in text
    if packages and not orders:
        return PACKAGE_STATES
    return ORDER_STATES if orders and not packages else ORDER_STATES | PACKAGE_STATES


def test_every_state_in_sql_and_in_an_indexs_condition_is_one_of_its_machines():
    compared = [
        (where, word, _states_of(text))
        for where, text in _texts()
        for found in _COMPARED.finditer(text)
        for word in _words(found, 2)
    ]
    assert [(where, word) for where, word, states in compared if word not in states] == []
    assert len({where for where, _, _ in compared}) >= 12, "the pattern finds the queries"
    assert any(where == "uq_shipment_confirmations_reference" for where, _, _ in compared)


def test_every_set_of_order_states_below_the_machine_holds_its_states():
    for module, names in SETS_OF_ORDER_STATES.items():
        values = vars(importlib.import_module(f"orders_pipeline.{module}"))
        for name in names:
            assert set(values[name]) - {None} <= ORDER_STATES, f"{module}.{name}"


def test_every_source_and_hold_reason_in_sql_is_declared():
    assert len(HOLD_REASONS) >= 13
    sources = {
        (where, word)
        for where, text in _texts()
        for found in _EVENT_SOURCE.finditer(text)
        for word in _words(found, 1)
        if "clock_readings" not in text
    }
    reasons = {(where, found.group(1)) for where, text in _texts() for found in _HELD_FOR.finditer(text)}
    assert sources
    assert reasons
    assert {one for one in sources if one[1] not in SOURCES} == set()
    assert {one for one in reasons if one[1] not in HOLD_REASONS} == set()


def stored_words_that_nobody_declares(rows: dict[str, list[dict[str, object]]]) -> list[tuple[str, object]]:
    """What lies in these rows, by column, and is no member."""
    declared = {
        ("pipeline.fulfillment_queue", "state"): ORDER_STATES,
        ("pipeline.fulfillment_queue", "hold_reasons"): HOLD_REASONS,
        ("pipeline.shipment_confirmations", "state"): PACKAGE_STATES,
        ("pipeline.alerts", "severity"): frozenset(SEVERITIES),
        ("pipeline.search_windows", "purpose"): PURPOSES,
        ("pipeline.order_events", "source"): SOURCES,
    }
    found: list[tuple[str, object]] = []
    for (table, column), words in declared.items():
        for row in rows[table]:
            stored = row[column]
            found += [(f"{table}.{column}", one) for one in (stored if isinstance(stored, list) else [stored])
                      if one not in words]  # fmt: skip
    return found
