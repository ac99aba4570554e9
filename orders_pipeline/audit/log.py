"""The audit log: who did what to which order, why, and how it ended. Append-only, hash-chained, without buyers' data.

The chain has one writer at a time: an entry holds the chain lock until its transaction ends. So an entry is appended
LAST in a transaction, after every row lock, and never before a call to anybody outside; and nothing that writes an
entry in a transaction of its own (`record(None, ...)`, `Vault.reveal`) is called by who holds the lock already: it
would wait for itself until the lock timeout.

A chain shows edits, insertions, reorderings and gaps. It cannot show that its newest entries were cut off, or that all
of it was recomputed: for that a place in it must be known from outside. `head()` is small and holds no buyer's data:
keep it with the daily export or in Dagster's metadata, and hand it to `verify(witnesses=...)`.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection

from orders_pipeline.audit import rows as queries
from orders_pipeline.audit.errors import AuditRefused
from orders_pipeline.audit.redaction import redact
from orders_pipeline.audit.rows import ChainEnd
from orders_pipeline.database.engine import Database

DetailValue = int | str | bool | None

GENESIS = bytes(32)
# A run's tag: who started it by hand. Set by the guard of the UI alone, which drops what a client says of it.
PERSON_TAG = "orders_pipeline/person"
# An entry says that something happened, not what was in it.
DETAIL_TEXT_CHARACTERS = 120
DETAIL_FIELDS = 12
PURPOSE_CHARACTERS = 300
# Each step of a purge holds the chain lock, and writers wait for 10 seconds at most (`database/engine.py`).
PURGE_STEP = 20_000

_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
# Amazon's own, and what tests make up: never words, which could be somebody's name.
_ORDER_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_ACTOR = re.compile(r"(run|job|user|person):[^\s]{1,120}")
_PERSON = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
_actor: ContextVar[str | None] = ContextVar("orders_pipeline_actor", default=None)


@contextmanager
def acting_as(actor: str) -> Generator[None]:
    """Who acts from here on: `run:<dagster run id>`, `job:<name>`, `user:<os user>` or a `person_actor`."""
    token = _actor.set(_checked_actor(actor))
    try:
        yield
    finally:
        _actor.reset(token)


def current_actor() -> str:
    """Who acts: as set by `acting_as`, else the operating system's user."""
    return _actor.get() or f"user:{_os_user()}"


def is_person(name: str) -> bool:
    """Whether this can be the name by which a person logs in: nothing that separates an actor's parts is in it."""
    return bool(_PERSON.fullmatch(name))


def person_actor(name: str, run_id: str | None = None) -> str:
    """A person who logged in to the UI, and the run that they started there."""
    if not is_person(name):
        raise AuditRefused("A person's name is made of letters, digits and . _ @ + -.")
    return f"person:{name}/run:{run_id}" if run_id else f"person:{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One entry to append. `order_id` is None for what concerns no single order."""

    action: str
    account_id: str
    purpose: str
    outcome: str
    order_id: str | None = None
    actor: str | None = None
    detail: Mapping[str, DetailValue] = field(default_factory=dict[str, DetailValue])


@dataclass(frozen=True, slots=True)
class AuditVerification:
    """What a pass over the chain found. `head` is its newest entry, a witness for the next pass."""

    ok: bool
    entries: int
    first_bad: int | None = None
    why: str | None = None
    head: ChainEnd | None = None


class AuditLog:
    """The log of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self,
        connection: Connection | None,
        *,
        action: str,
        account_id: str,
        purpose: str,
        outcome: str,
        order_id: str | None = None,
        actor: str | None = None,
        detail: Mapping[str, DetailValue] | None = None,
    ) -> int:
        """Append one entry, in the caller's transaction (last in it!) or, with None, in one of its own; its number."""
        entry = AuditEntry(
            action=action, account_id=account_id, purpose=purpose, outcome=outcome, order_id=order_id, actor=actor,
            detail=detail or {},
        )  # fmt: skip
        row = _row(entry)
        if connection is not None:
            return queries.append(connection, row)
        with self._database.begin() as own:
            return queries.append(own, row)

    def record_many(self, connection: Connection | None, entries: Sequence[AuditEntry]) -> int:
        """Append in the order given, in one statement; how many."""
        rows = [_row(entry) for entry in entries]
        if not rows:
            return 0
        if connection is not None:
            return queries.append_many(connection, rows)
        with self._database.begin() as own:
            return queries.append_many(own, rows)

    def record_for_each(
        self, connection: Connection, entry: AuditEntry, subjects: Sequence[str], *, are_orders: bool = True
    ) -> int:
        """Append the same entry for each order (or, with `are_orders=False`, each other subject); how many."""
        if not subjects:
            return 0
        if are_orders:
            for subject in subjects:
                checked_order_id(subject)
        return queries.append_for_each(connection, _row(entry), subjects, are_orders=are_orders)

    def head(self) -> ChainEnd | None:
        """The newest entry's number and hash: a witness to keep elsewhere."""
        with self._database.begin() as connection:
            return queries.head(connection)

    def verify(self, witnesses: Sequence[ChainEnd] = ()) -> AuditVerification:
        """Recompute the chain, streaming, from its beginning.

        `witnesses`: places in the chain as they were seen from outside; each must still be there, unless purged by age.
        """
        with self._database.begin() as connection:
            return _verify(connection, {witness.entry_id: witness.entry_hash for witness in witnesses})

    def disagreeing(self, witnesses: Sequence[ChainEnd]) -> list[ChainEnd]:
        """Those of the witnesses whose entry the log does not have as it was seen, purged ones included."""
        with self._database.begin() as connection:
            there = queries.entry_hashes(connection, [witness.entry_id for witness in witnesses])
        return [witness for witness in witnesses if there.get(witness.entry_id) != witness.entry_hash]

    def export(self, day: date) -> Iterator[str]:
        """One JSON line an entry, of one UTC day, streamed. No line holds a buyer's data."""
        with self._database.begin() as connection:
            for entry in queries.entries_of_day(connection, day):
                yield json.dumps(entry, default=_as_json, sort_keys=True, ensure_ascii=False)

    def purge_before(self, cutoff: datetime, actor: str | None = None) -> int:
        """Forget entries older than the cutoff, in short steps; how many. The database refuses less than 12 months."""
        total = 0
        while True:
            with self._database.begin() as connection:
                gone = queries.purge_before(connection, cutoff, _checked_actor(actor or current_actor()), PURGE_STEP)
            total += gone
            if gone < PURGE_STEP:
                return total


def _verify(connection: Connection, witnesses: Mapping[int, bytes]) -> AuditVerification:
    anchor = queries.newest_anchor(connection)
    begins_after = anchor.end if anchor is not None else ChainEnd(0, GENESIS)
    expected_id, expected_hash, entries = begins_after.entry_id + 1, begins_after.entry_hash, 0
    missing = {number for number in witnesses if number >= expected_id}

    def bad(why: str) -> AuditVerification:
        return AuditVerification(False, entries, expected_id, why, ChainEnd(expected_id - 1, expected_hash))

    for link in queries.links(connection):
        if link.entry_id != expected_id:
            return bad("entries are missing" if link.entry_id > expected_id else "an entry should have been purged")
        if link.previous_hash != expected_hash:
            return bad("it does not follow from the entry before it")
        if link.entry_hash != hashlib.sha256(link.previous_hash + link.canonical.encode("utf-8")).digest():
            return bad("its content is not what was written")
        if link.entry_id in missing:
            if witnesses[link.entry_id] != link.entry_hash:
                return bad("it is not the entry that was witnessed")
            missing.remove(link.entry_id)
        expected_id, expected_hash, entries = link.entry_id + 1, link.entry_hash, entries + 1
    if missing:
        return bad("the newest entries are gone: an entry that was witnessed is no longer there")
    return AuditVerification(True, entries, head=ChainEnd(expected_id - 1, expected_hash))


def _row(entry: AuditEntry) -> dict[str, Any]:
    for name in (entry.action, entry.outcome):
        if not _NAME.fullmatch(name):
            raise AuditRefused("An audit entry's action and outcome are short lower_case words.")
    if not entry.purpose.strip() or len(entry.purpose) > PURPOSE_CHARACTERS:
        raise AuditRefused(f"An audit entry needs a purpose of at most {PURPOSE_CHARACTERS} characters.")
    return {
        "actor": _checked_actor(entry.actor or current_actor()),
        "action": entry.action,
        # The log's hashes name the account by the word of the first release.
        "seller_id": entry.account_id,
        "order_id": None if entry.order_id is None else checked_order_id(entry.order_id),
        # A person's own words: the last net is under them too.
        "purpose": redact(entry.purpose),
        "outcome": entry.outcome,
        "detail": _checked_detail(entry.detail),
    }


def _checked_detail(detail: Mapping[str, DetailValue]) -> dict[str, DetailValue]:
    if len(detail) > DETAIL_FIELDS:
        raise AuditRefused(f"An audit entry's detail has at most {DETAIL_FIELDS} fields.")
    checked: dict[str, DetailValue] = {}
    for name, value in detail.items():
        if not _NAME.fullmatch(name):
            raise AuditRefused("The names in an audit entry's detail are short lower_case words.")
        # By exact type: a subclass could be a mask around a buyer's text, and its mask is not worth a row.
        if type(value) not in (int, str, bool, type(None)):
            raise AuditRefused(
                f"The detail {name!r} is a {type(value).__name__}: only int, str, bool and None are written."
            )
        if isinstance(value, str):
            if len(value) > DETAIL_TEXT_CHARACTERS:
                raise AuditRefused(f"The detail {name!r} is longer than {DETAIL_TEXT_CHARACTERS} characters.")
            value = redact(value)
        checked[name] = value
    return checked


def is_order_id(text: str) -> bool:
    """Whether this can be an order's id, or a seller's. What cannot may be somebody's name, and is written nowhere."""
    return bool(_ORDER_ID.fullmatch(text))


def checked_order_id(order_id: str) -> str:
    """The id. Raises AuditRefused for what no order id is, without repeating it: it could be a buyer's name."""
    if not is_order_id(order_id):
        raise AuditRefused("An order id is made of letters, digits and hyphens: give Amazon's order id, nothing else.")
    return order_id


def _checked_actor(actor: str) -> str:
    if not _ACTOR.fullmatch(actor):
        raise AuditRefused("An actor is run:<id>, job:<name>, user:<name> or person:<name>.")
    return actor


def _os_user() -> str:
    # Of the process, not of the environment: LOGNAME is whatever the person wants it to be.
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name.replace(" ", "_")
    except KeyError:
        # A container's user id may have no name.
        return f"uid_{number}"


def _as_json(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in an audit entry")
