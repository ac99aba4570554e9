"""A word that stands for a state, a reason or a source is one that the code declares: in SQL, in code, in stored rows.

SQL and code are read with simple patterns: a word that is compared with an expression is not found.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from enum import Enum
from functools import cache
from pathlib import Path
from typing import get_args

from sqlalchemy import Text
from sqlalchemy.dialects.postgresql import ARRAY

import orders_pipeline
from orders_pipeline.alerts.kinds import SEVERITIES
from orders_pipeline.counters.rows import Counted
from orders_pipeline.database.locks import Lock
from orders_pipeline.database.metadata import LOCK_TABLES, metadata
from orders_pipeline.fulfillment import eligibility
from orders_pipeline.fulfillment.stop import BY_HAND
from orders_pipeline.intake.fetch_pages import LISTING
from orders_pipeline.model.order import Priority
from orders_pipeline.model.report import ReportState
from orders_pipeline.model.states import FulfillmentState, PackageState
from orders_pipeline.model.webhook import WebhookRefusal
from orders_pipeline.orders.ownership import PURCHASED_BEFORE_START
from orders_pipeline.privacy.rules import Rule
from orders_pipeline.shipments.replacements import Edited
from orders_pipeline.wms.port import CancelAnswer, HoldAnswer, PushAnswer
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.pauses import PauseKind

PACKAGE = Path(orders_pipeline.__file__).parent
ORDER_STATES = frozenset(map(str, FulfillmentState))
HOLD_REASONS = frozenset(
    {PURCHASED_BEFORE_START}
    | {value for name, value in vars(eligibility).items() if isinstance(value, str) and value == name.lower()}
)
# A search is for one of these; so is an event that it found. The other events are told, or asked for by a person.
PURPOSES = frozenset({Priority.SWEEP.value, Priority.BACKFILL.value, LISTING})
ANSWERS = frozenset({"unknown", "not_there", *get_args(PushAnswer), *get_args(CancelAnswer), *BY_HAND.values()}) | {
    f"{asked}_{answer}" for asked in ("hold", "release") for answer in get_args(HoldAnswer)
}
VAULT_KINDS = frozenset({"shipping_details", "parked_message", "fingerprint_key"})

# The columns that hold words of ours, and the words.
DECLARED: dict[str, type[Enum] | frozenset[str]] = {
    "pipeline.fulfillment_orders.state": FulfillmentState,
    "pipeline.fulfillment_orders.hold_reasons": HOLD_REASONS,
    "pipeline.orders.waived_holds": eligibility.WAIVABLE,
    "pipeline.orders.erased_by": Rule,
    "pipeline.shipment_confirmations.state": PackageState,
    "pipeline.shipment_confirmations.edited": Edited,
    "pipeline.wms_orders.answer": ANSWERS,
    "pipeline.alerts.severity": frozenset(SEVERITIES),
    "pipeline.alert_deliveries.severity": frozenset(SEVERITIES),
    "pipeline.search_windows.purpose": PURPOSES,
    "pipeline.order_events.source": PURPOSES | {"notification", "recovery"},
    "pipeline.amazon_authorizations.source": frozenset({"consent", "typed", "settings"}),
    "pipeline.report_requests.state": ReportState,
    "pipeline.seals.kind": VAULT_KINDS,
    "vault.records.kind": VAULT_KINDS,
    "pipeline.refused_records.kind": VAULT_KINDS,
    "pipeline.wms_cursors.webhook_refusal": WebhookRefusal,
    "pipeline.counter_increments.counter": Counted,
    "pipeline.jobs.queue": Queue,
    "pipeline.paused_dependencies.kind": PauseKind,
    "pipeline.paused_dependencies.probe_queue": Queue,
}
# Columns that look like it and are not: Amazon's, the warehouse's and PostgreSQL's words, and ours that form no set.
OPEN = {
    "pipeline.alert_deliveries.kind",
    "audit.entries.action", "audit.entries.outcome", "audit.entries.purpose", "pipeline.amazon_rate_limits.region",
    "pipeline.clock_readings.source", "pipeline.database_privileges.who", "pipeline.order_events.fulfilled_by_told",
    "pipeline.order_items.currency", "pipeline.orders.fulfilled_by", "pipeline.orders.service_level",
    "pipeline.orders.status", "pipeline.orders.total_currency", "pipeline.parked_messages.notification_type",
    "pipeline.shipment_confirmations.reason", "pipeline.wms_orders.answer_code", "pipeline.wms_shipments.kind",
    "pipeline.wms_shipments.result", "vault.amazon_tokens.purpose",
}  # fmt: skip
# Enums whose words no column holds: they decide, are asked for, or stand in the audit log's texts.
NOT_STORED = {
    "database/locks.py:Lock", "database/migrate.py:Phase", "defs/job_configs.py:RequestedBy",
    "defs/job_configs.py:HoldReason", "defs/job_configs.py:ParkedStage", "defs/job_configs.py:WaivedBecause",
    "fulfillment/eligibility.py:Wanted", "fulfillment/states.py:Event", "shipments/states.py:PackageEvent",
    "intake/event_decision.py:EventAction",
    "model/state_machine.py:DescribedWord", "operations/alerting/plan.py:Event", "operations/order_board/cards.py:Tone",
    "operations/order_board/columns.py:Column", "operations/order_board/filters.py:Fulfillment",
    "operations/order_board/filters.py:Needs",
    "model/order.py:OrderParts", "model/order.py:Priority", "web/visitor.py:Role",
    "wms/port.py:Capability", "work/failures.py:Does", "work/pauses.py:Gate",
    "channels/amazon/auth/consent.py:StateProblem", "channels/amazon/auth/revocation.py:Standing",
    "operations/authorize.py:Outcome",
}  # fmt: skip

_ENUMS = {"Enum", "StrEnum", "IntEnum", "Flag", "DescribedWord"}
_WORD = r"'([A-Za-z_]+)'"
_COMPARED = re.compile(rf"\b(\w+)(?:::text)? (?:=|<>|!=|(?:not )?in)\s*\(?({_WORD}(?:,\s*{_WORD})*)")
_TESTS = ("in_", "not_in", "contains", "any")
_LOOKS_LIKE = re.compile(r"[a-z][a-z_]*|[A-Z][A-Z_]*")
_IN_ARRAY = re.compile(rf"({_WORD}) = any\((?:\w+\.)?(\w+)\)")


@cache
def _trees() -> list[tuple[str, ast.Module]]:
    return [
        (path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text("utf-8")))
        for path in sorted(PACKAGE.rglob("*.py"))
        if not {"sandbox", "migrations"} & {*path.parts}
    ]


@cache
def _text_columns() -> dict[str, frozenset[str]]:
    """The tables that have a column of texts, by the column's name."""
    for name, _ in _trees():
        if name.endswith("tables.py"):
            importlib.import_module(f"orders_pipeline.{name[:-3].replace('/', '.')}")
    found: dict[str, set[str]] = {}
    for table in metadata.tables.values():
        for column in table.columns:
            if isinstance(column.type, (Text, ARRAY)):
                found.setdefault(column.name, set()).add(table.fullname)
    return {name: frozenset(tables) for name, tables in found.items()}


@cache
def _texts() -> list[tuple[str, str]]:
    """Every text in the code, with where it stands; the parts of one that is put together are joined."""
    found: list[tuple[str, str]] = []
    for name, tree in _trees():
        for node in ast.walk(tree):
            where = f"{name}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else " " for part in node.values)
                found.append((where, "".join(map(str, parts))))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append((where, node.value))
    _text_columns()
    for table in metadata.tables.values():
        for index in table.indexes:
            condition = index.dialect_options["postgresql"]["where"]
            if condition is not None:
                found.append((str(index.name), f"from {table.fullname} where {condition}"))
    return found


def _compared_in_sql() -> Iterator[tuple[str, str, str, str]]:
    """(where, the whole text, the column, the word)"""
    for where, sql in _texts():
        for found in _COMPARED.finditer(sql):
            for word in re.findall(_WORD, found.group(2)):
                yield where, sql, found.group(1), word
        for found in _IN_ARRAY.finditer(sql):
            yield where, sql, found.group(3), found.group(2)


def _compared_in_code(trees: list[tuple[str, ast.Module]]) -> Iterator[tuple[str, str, str, str]]:
    """(where, the table's variable, the column, the word): `queue.c.state == "held"`, `queue.c.state.in_(["held"])`."""
    for name, tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare):
                left, values = node.left, node.comparators
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _TESTS:
                left, values = node.func.value, node.args
            else:
                continue
            match left:
                case ast.Attribute(value=ast.Attribute(value=table, attr="c"), attr=column):
                    for one in (part for value in values for part in getattr(value, "elts", [value])):
                        if isinstance(one, ast.Constant) and isinstance(one.value, str):
                            yield f"{name}:{one.lineno}", ast.unparse(table), column, one.value
                case _:
                    pass


def _words(declared: type[Enum] | frozenset[str]) -> frozenset[str]:
    return declared if isinstance(declared, frozenset) else frozenset(str(one.value) for one in declared)


def _allowed(column: str, sql: str) -> frozenset[str] | None:
    """The words that a column of this name may hold, in the tables that the text names, or in any; None: any word."""
    tables = _text_columns().get(column, frozenset())
    named = {table for table in tables if re.search(rf"\b{table.split('.')[1]}\b", sql)}
    declared = [DECLARED.get(f"{table}.{column}") for table in named or tables]
    known = [_words(one) for one in declared if one is not None]
    if not known or (named and len(known) < len(declared)):
        return None
    return frozenset().union(*known)


def test_every_enum_says_where_it_is_stored_or_that_it_is_not():
    enums = {
        f"{name}:{node.name}"
        for name, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and _ENUMS & {ast.unparse(base).split(".")[-1] for base in node.bases}
    }
    stored = {
        f"{one.__module__.removeprefix('orders_pipeline.').replace('.', '/')}.py:{one.__name__}"
        for one in DECLARED.values()
        if not isinstance(one, frozenset)
    }
    assert stored | NOT_STORED == enums
    assert stored & NOT_STORED == set()


def test_every_column_that_is_declared_is_there_and_so_is_every_column_of_the_same_name():
    columns = {f"{table}.{name}" for name, tables in _text_columns().items() for table in tables}
    assert set(DECLARED) | OPEN <= columns
    # A new table's `state` holds somebody's words too.
    names = {column.split(".")[2] for column in DECLARED}
    assert {column for column in columns if column.split(".")[2] in names} - set(DECLARED) - OPEN == set()


def test_every_word_in_sql_and_in_an_indexs_condition_is_one_of_its_columns():
    compared = [(where, column, word, _allowed(column, sql)) for where, sql, column, word in _compared_in_sql()]
    assert [one[:3] for one in compared if one[3] is not None and one[2] not in one[3]] == []
    checked = {where for where, _, _, allowed in compared if allowed is not None}
    assert len(checked) >= 20, "the pattern finds the queries"
    assert {"uq_shipment_confirmations_reference", "ix_fulfillment_orders_no_marketplace"} <= checked


def test_every_word_in_sql_of_a_column_without_a_set_is_one_that_code_writes():
    written = {text for _, text in _texts()}
    compared = {
        (where, column, word)
        for where, sql, column, word in _compared_in_sql()
        if column in _text_columns() and _allowed(column, sql) is None
    }
    assert {one for one in compared if one[2] not in written} == set()
    assert compared


def test_code_compares_a_column_with_a_member_of_its_enum_and_never_with_a_bare_word():
    assert list(_compared_in_code(_trees())) == []
    bare = ast.parse('queue.c.state == "held"; queue.c.state.in_(["held"])')
    assert len(list(_compared_in_code([("an example", bare)]))) == 2


def test_the_locks_are_the_lock_tables():
    assert {str(lock) for lock in Lock} == {table.fullname for table in LOCK_TABLES}


def stored_words_that_nobody_declares(rows: dict[str, list[dict[str, object]]]) -> list[tuple[str, object]]:
    """What lies in these rows and is no word of its column; and columns of words only, of which nothing is declared."""
    found: list[tuple[str, object]] = []
    for table, its_rows in rows.items():
        for column in its_rows[0] if its_rows else ():
            name = f"{table}.{column}"
            values = [row[column] for row in its_rows]
            each = [one for value in values for one in (value if isinstance(value, list) else [value])]
            words = {one for one in each if isinstance(one, str)}
            if name in DECLARED:
                found += [(name, one) for one in words if one not in _words(DECLARED[name])]
            elif name not in OPEN and words and all(map(_LOOKS_LIKE.fullmatch, words)):
                found.append((name, "is not declared"))
    return found
