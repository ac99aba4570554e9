"""One reading of every metric, in transactions that only read, within a budget of time.

What fails is told as a metric, and hides nothing else: a group that cannot be read, or a database that is away.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from orders_pipeline.database.connect import dagster_database_url, orders_database_url
from orders_pipeline.database.embedded import EmbeddedPostgresError
from orders_pipeline.database.engine import Database
from orders_pipeline.operations.metrics import (
    alerts,
    amazon_limits,
    dagster_runs,
    flow,
    orders,
    personal_data,
    work,
)
from orders_pipeline.operations.metrics.family import Database as DatabaseName
from orders_pipeline.operations.metrics.family import Family, Group, Sample
from orders_pipeline.privacy.access.roles import READER
from orders_pipeline.settings import Settings, SettingsError
from orders_pipeline.work.workers import error_location

# Prometheus waits for ten seconds if nobody told it otherwise.
BUDGET_SECONDS = 6.0
CONNECT_SECONDS = 2
LONGEST_STATEMENT_SECONDS = 2.0
GROUPS: tuple[Group, ...] = (
    orders.GROUP, work.GROUP, alerts.GROUP, flow.GROUP, amazon_limits.GROUP, personal_data.GROUP, dagster_runs.GROUP,
)  # fmt: skip

UP = Family("orders_pipeline_up", "gauge", "1 where the database could be read: orders, dagster.", ("database",))
READ = Family("orders_pipeline_scrape_group_read", "gauge", "1 where this group of metrics could be read.", ("group",))
ERRORS = Family(
    "orders_pipeline_scrape_errors_total",
    "counter",
    "How often this group could not be read since the web process started.",
    ("group",),
)
SECONDS = Family("orders_pipeline_scrape_group_seconds", "gauge", "How long it took to read this group.", ("group",))
OF_THE_SCRAPE = (UP, READ, ERRORS, SECONDS)
FAMILIES: tuple[Family, ...] = (*(family for group in GROUPS for family in group.families), *OF_THE_SCRAPE)

_logger = logging.getLogger(__name__)
# The reader's role, where it is there and this login may take it on: what it may not see, a metric cannot tell.
_AS_READER = text("""
    select set_config('role', rolname, true) from pg_roles
    where rolname = :reader and pg_has_role(current_user, oid, 'member')
""")


@dataclass(frozen=True, slots=True)
class _Kept:
    samples: Sequence[Sample]
    read_at: float
    seconds: float


class Scraper:
    """Reads the metrics; one reading at a time. Thread-safe."""

    def __init__(
        self,
        settings: Settings,
        *,
        account_ids: Callable[[], Sequence[str]] | None = None,
        groups: Sequence[Group] = GROUPS,
        clock: Callable[[], float] = time.monotonic,
        budget_seconds: float = BUDGET_SECONDS,
    ) -> None:
        self._settings = settings
        self._account_ids = account_ids or (lambda: [one.account_id for one in settings.amazon_accounts()])
        self._groups = groups
        self._clock = clock
        self._budget = budget_seconds
        self._guard = threading.Lock()
        self._databases: dict[DatabaseName, Database] = {}
        self._kept: dict[str, _Kept] = {}
        self._errors: Counter[str] = Counter()

    def read(self) -> list[Sample]:
        """Every sample that can be read. Raises SettingsError where the settings name no account."""
        with self._guard:
            ends_at = self._clock() + self._budget
            account_ids = self._account_ids()
            found: list[Sample] = []
            for database in ("orders", "dagster"):
                groups = [group for group in self._groups if group.database == database]
                found += self._read_database(database, groups, account_ids, ends_at)
            return found

    def close(self) -> None:
        with self._guard:
            for name in list(self._databases):
                self._forget(name)

    def _read_database(
        self, name: DatabaseName, groups: Sequence[Group], account_ids: Sequence[str], ends_at: float
    ) -> Iterator[Sample]:
        left = list(groups)
        try:
            with self._opened(name).engine.connect() as connection:
                while left:
                    yield from self._read_group(connection, left[0], account_ids, ends_at)
                    left.pop(0)
        except (SQLAlchemyError, EmbeddedPostgresError, SettingsError) as error:
            self._forget(name)
            _logger.warning("Metrics: the database %s cannot be read: %s", name, error_location(error))
        yield Sample(UP, (name,), 0 if left else 1)
        for group in left:
            yield from self._failed(group)

    def _read_group(
        self, connection: Connection, group: Group, account_ids: Sequence[str], ends_at: float
    ) -> Iterator[Sample]:
        kept, begun = self._kept.get(group.name), self._clock()
        if kept is None or begun - kept.read_at >= group.fresh_seconds:
            try:
                samples = self._read_in_time(connection, group, account_ids, ends_at - begun)
            except Exception as error:
                # Without the error's own text: a database may quote in it what was being read.
                _logger.warning("Metrics: the group %s cannot be read: %s", group.name, error_location(error))
                if connection.invalidated:
                    raise
                connection.rollback()
                self._kept.pop(group.name, None)
                yield from self._failed(group)
                return
            kept = _Kept(samples, begun, self._clock() - begun)
            self._kept[group.name] = kept
        yield from kept.samples
        yield from self._told(group, read=True)
        yield Sample(SECONDS, (group.name,), kept.seconds)

    def _read_in_time(
        self, connection: Connection, group: Group, account_ids: Sequence[str], left: float
    ) -> Sequence[Sample]:
        if left <= 0:
            raise TimeoutError("no time was left for it")
        longest = round(min(left, LONGEST_STATEMENT_SECONDS) * 1000)
        connection.execute(text(f"set transaction read only; set local statement_timeout = {longest}"))
        if group.as_reader and group.database == "orders":
            connection.execute(_AS_READER, {"reader": READER})
        samples = tuple(group.read(connection, account_ids))
        connection.rollback()
        return samples

    def _failed(self, group: Group) -> Iterable[Sample]:
        self._errors[group.name] += 1
        return self._told(group, read=False)

    def _told(self, group: Group, *, read: bool) -> Iterable[Sample]:
        return (
            Sample(READ, (group.name,), int(read)),
            Sample(ERRORS, (group.name,), self._errors[group.name]),
        )

    def _opened(self, name: DatabaseName) -> Database:
        """Opened anew after a failure: an embedded server may come back elsewhere."""
        if name not in self._databases:
            url = orders_database_url(self._settings) if name == "orders" else dagster_database_url(self._settings)
            self._databases[name] = Database(url, pool_size=1, patience_seconds=CONNECT_SECONDS)
        return self._databases[name]

    def _forget(self, name: DatabaseName) -> None:
        database = self._databases.pop(name, None)
        if database is not None:
            database.close()
