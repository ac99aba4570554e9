"""Look for buyers' data where it must not be: our tables, Dagster's, its files, our logs.

Belongs here: going through all of these, streamed, within a budget of time, and saying where something was found:
a table's column or a file, and how often; never what. Elsewhere: what a leak looks like (leak_shapes), the values that
the vault holds (held_values). Where a value can end up in Dagster: docs/architecture.md, "Dagster".
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from psycopg2.errors import InsufficientPrivilege
from sqlalchemy.exc import ProgrammingError

from orders_pipeline.compliance import rules
from orders_pipeline.compliance.held_values import HeldValues, hash_held_values
from orders_pipeline.compliance.leak_shapes import shapes_in, words_of
from orders_pipeline.compliance.outcome import CheckOutcome
from orders_pipeline.progress import Progress, Tell, silent
from orders_pipeline.store.database import Database
from orders_pipeline.store.evidence import text_columns, texts_of
from orders_pipeline.vault.access import Vault

# Ciphertext and wrapped keys; everything else is looked through.
SEALED_SCHEMAS = ("vault", "vault_keys")
HELD_VALUE = "held value"
ROWS_A_PAGE = 1_000
CHUNK_BYTES = 1 << 20
# Longer than any shape or value: what lies across two chunks is seen in the second.
OVERLAP_BYTES = 1 << 12
SHORTEST_TEXT = 6
# States, ids and times come again and again; looking once is enough. Bounds the memory.
CLEAN_TEXTS_REMEMBERED = 50_000
REMEMBERED_CHARACTERS = 120
# Where Dagster writes, in a DAGSTER_HOME that is a repository as well.
DAGSTER_FOLDERS = ("storage", "history", "schedules", "logs", "compute_logs", ".logs_queue", ".telemetry")
PLACES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was found, and of which kind. `times` counts rows, or pieces of a file."""

    where: str
    kind: str
    times: int


@dataclass(slots=True)
class LeakScan:
    """What was looked through and what was found.

    `not_readable`: tables and files that we may not look at. Not complete: the budget was spent; the newest rows came
    first.
    """

    rows: int = 0
    files: int = 0
    bytes: int = 0
    hashed_records: int = 0
    unreadable: int = 0
    not_readable: int = 0
    complete: bool = True
    found: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])

    @property
    def places(self) -> list[Place]:
        return [Place(where, kind, times) for (where, kind), times in sorted(self.found.items())]

    def as_metadata(self) -> dict[str, int | float | bool]:
        return {
            "places": len({where for where, _ in self.found}),
            "times": sum(self.found.values()),
            "rows": self.rows,
            "files": self.files,
            "bytes": self.bytes,
            "hashed_records": self.hashed_records,
            "unreadable": self.unreadable,
            "not_readable": self.not_readable,
            "complete": self.complete,
        }


def no_copies_in_clear(
    database: Database,
    vault: Vault,
    *,
    seller_id: str,
    dagster_url: str | None = None,
    dagster_home: Path | None = None,
    folders: Sequence[Path] = (),
    since: timedelta = timedelta(days=1),
    budget_seconds: float = 600.0,
    tell: Tell = silent,
) -> tuple[CheckOutcome, LeakScan]:
    """No buyer's data lies in clear in our tables, Dagster's, its files or our logs, by shape or by value."""
    held = hash_held_values(database, vault, seller_id=seller_id, since=database.now() - since)
    scan = scan_for_leaks(
        database,
        held,
        dagster_url=dagster_url,
        folders=[*dagster_folders(dagster_home), *folders] if dagster_home else folders,
        budget_seconds=budget_seconds,
        tell=tell,
    )
    shown = "; ".join(f"{place.kind} in {place.where} ({place.times})" for place in scan.places[:PLACES_SHOWN])
    unfinished = "" if scan.complete else " The time was up before all was seen; the newest rows came first."
    if scan.not_readable:
        unfinished += f" {scan.not_readable} tables or files may not be read by this process, and were not looked at."
    return (
        CheckOutcome(
            name="no_copies_in_clear",
            # Not to have looked is no proof.
            passed=not (scan.found or scan.unreadable or scan.not_readable) and scan.complete,
            severity="ERROR" if scan.found or scan.unreadable else "WARN",
            description=f"{scan.rows} rows and {scan.files} files were looked through for shapes and for the values of "
            f"{scan.hashed_records} orders: {shown or 'nothing found'}.{unfinished}",
            what_to_do="Delete what was found there, mend what wrote it, and decide whether it is an incident (24 "
            "hours). What was not looked at is no proof: give this process the right to look.",
            source=rules.NO_COPIES,
            numbers=scan.as_metadata(),
        ),
        scan,
    )


def scan_for_leaks(
    database: Database,
    held: HeldValues,
    *,
    dagster_url: str | None = None,
    folders: Sequence[Path] = (),
    budget_seconds: float = 600.0,
    clock: Callable[[], float] = time.monotonic,
    tell: Tell = silent,
) -> LeakScan:
    """Look through everything. Raises SQLAlchemyError if Dagster's database cannot be read."""
    scan = LeakScan(hashed_records=held.records, unreadable=held.unreadable)
    ends = clock() + budget_seconds
    looker = _Looker(held)
    _scan_database(database, "table", SEALED_SCHEMAS, looker, scan, ends, clock, tell)
    if dagster_url is not None:
        dagster = Database(dagster_url, pool_size=1)
        try:
            # Where both share a database, only its public schema is Dagster's.
            _scan_database(dagster, "dagster", (*SEALED_SCHEMAS, "pipeline", "audit"), looker, scan, ends, clock, tell)
        finally:
            dagster.close()
    for folder in folders:
        for path in files_below(folder):
            _scan_file(path, f"file {_shown(path, folder)}", looker, scan, ends, clock)
    return scan


def dagster_folders(home: Path) -> list[Path]:
    """Where Dagster keeps files: all of DAGSTER_HOME, or its own folders where it is a repository too."""
    if not any((home / name).exists() for name in ("pyproject.toml", "workspace.yaml", ".git")):
        return [home]
    return [home / name for name in DAGSTER_FOLDERS if (home / name).is_dir()] + sorted(home.glob("*.log"))


def files_below(folder: Path) -> Iterator[Path]:
    """Every ordinary file, but of a PostgreSQL server only its log: its tables are looked through as tables."""
    if folder.is_file():
        yield folder
        return
    for parent, folders, names in os.walk(folder):
        if "PG_VERSION" in names:
            folders.clear()
            names = [name for name in names if name == "log"]
        for name in sorted(names):
            path = Path(parent) / name
            if path.is_file() and not path.is_symlink():
                yield path


class _Looker:
    """Looks at one text after another, remembering short ones that were clean."""

    def __init__(self, held: HeldValues) -> None:
        self._held = held
        self._clean: set[str] = set()

    def kinds_in(self, text: str) -> list[str]:
        if len(text) < SHORTEST_TEXT or text in self._clean:
            return []
        kinds = list(shapes_in(text))
        if self._held.holds_any_of(words_of(text)):
            kinds.append(HELD_VALUE)
        if not kinds and len(text) <= REMEMBERED_CHARACTERS:
            if len(self._clean) >= CLEAN_TEXTS_REMEMBERED:
                self._clean.clear()
            self._clean.add(text)
        return kinds


def _scan_database(
    database: Database,
    label: str,
    without_schemas: Sequence[str],
    looker: _Looker,
    scan: LeakScan,
    ends: float,
    clock: Callable[[], float],
    tell: Tell,
) -> None:
    with database.transaction() as connection:
        tables = text_columns(connection, without_schemas)
    progress = Progress(f"{label} tables looked through", len(tables), tell)
    for number, ((schema, table), columns) in enumerate(tables.items()):
        # A share each of the time that is left: one long table leaves some for those after it.
        share_ends = clock() + (ends - clock()) / (len(tables) - number)
        names = [f"{label} {schema}.{table}.{column}" for column in columns]
        try:
            with database.engine.connect() as connection:
                for rows in texts_of(connection, schema, table, columns, ROWS_A_PAGE):
                    for row in rows:
                        for name, value in zip(names, row, strict=True):
                            if value is not None:
                                for kind in looker.kinds_in(value):
                                    scan.found[name, kind] += 1
                    scan.rows += len(rows)
                    if clock() > share_ends:
                        scan.complete = False
                        break
        except ProgrammingError as error:
            if not isinstance(error.orig, InsufficientPrivilege):
                raise
            scan.not_readable += 1
        progress.advance(1)


def _scan_file(
    path: Path, where: str, looker: _Looker, scan: LeakScan, ends: float, clock: Callable[[], float]
) -> None:
    scan.files += 1
    carried = b""
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                if clock() > ends:
                    scan.complete = False
                    return
                scan.bytes += len(chunk)
                for kind in looker.kinds_in((carried + chunk).decode("utf-8", errors="replace")):
                    scan.found[where, kind] += 1
                carried = chunk[-OVERLAP_BYTES:]
    except FileNotFoundError:
        # Dagster removes its files when it likes.
        return
    except OSError:
        scan.not_readable += 1


def _shown(path: Path, folder: Path) -> str:
    """The file's name below the folder, unless the name itself looks like somebody's."""
    name = str(path.relative_to(folder)) if path != folder else path.name
    return "(a name that is not shown)" if any(shapes_in(name)) else name
