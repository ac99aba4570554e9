"""Look for buyers' data where it must not be: our tables, Dagster's, its files, the data folder, our logs.

All of it is looked at in every encoding, streamed, within a budget of time. What is told is where something was found,
a table's column or a file, and how often; never what. What was not looked at is told as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

from orders_pipeline.audit.rows import mail_addresses_of_actors
from orders_pipeline.database.engine import Database
from orders_pipeline.privacy import rules
from orders_pipeline.privacy.check_result import CheckResult
from orders_pipeline.privacy.checks.contents import names_beside
from orders_pipeline.privacy.checks.leak_files import FileTree, dagster_folders, is_repository, scan_files
from orders_pipeline.privacy.checks.leak_scanner import LeakScan, LeakScanner
from orders_pipeline.privacy.checks.leak_tables import scan_database
from orders_pipeline.privacy.checks.stored_values import StoredValues, hash_stored_values
from orders_pipeline.vault.access import Vault
from orders_pipeline.work.progress import Notify, silent

# Ciphertext and wrapped keys; everything else is looked through.
SEALED_SCHEMAS = ("vault", "vault_keys")
PLACES_SHOWN = 10
# Of the time, until when our tables are looked through, then Dagster's; what they leave is the files' too.
TABLES_SHARE, DAGSTER_SHARE = 0.5, 0.8


def no_copies_in_clear(
    database: Database,
    vault: Vault,
    *,
    account_id: str,
    dagster_url: str | None = None,
    dagster_home: Path | None = None,
    data_dir: Path | None = None,
    folders: Sequence[Path] = (),
    secret_files: Sequence[Path] = (),
    since: timedelta = timedelta(days=1),
    budget_seconds: float = 600.0,
    notify: Notify = silent,
) -> tuple[CheckResult, LeakScan]:
    """No buyer's data lies in clear in our tables, Dagster's, its files, the data folder or our logs.

    By shape, by value, and in every encoding. `secret_files` are where the keys and the credentials are kept.
    """
    held = hash_stored_values(database, vault, account_id=account_id, since=database.now() - since)
    scan = scan_for_leaks(
        database,
        held,
        dagster_url=dagster_url,
        folders=[
            *(dagster_folders(dagster_home) if dagster_home else ()),
            *([data_dir] if data_dir else ()),
            *folders,
        ],
        secret_files=secret_files,
        budget_seconds=budget_seconds,
        notify=notify,
    )
    _name_what_is_left_out(database, scan, dagster_home, data_dir)
    shown = _listed([f"{place.kind} in {place.where} ({place.times})" for place in scan.places])
    not_scanned = _listed(
        [f"{where} ({why}{f', {times} times' if times > 1 else ''})"
         for (where, why), times in sorted(scan.not_scanned.items())]
    )  # fmt: skip
    return (
        CheckResult(
            name="no_copies_in_clear",
            # Not to have looked is no proof.
            passed=not (scan.found or scan.unreadable or scan.not_scanned),
            severity="ERROR" if scan.found or scan.unreadable else "WARN",
            description=f"{scan.rows} rows and {scan.files} files were looked through for shapes and for the values of "
            f"{scan.hashed_records} orders: {shown or 'nothing found'}."
            + (f" Not looked at: {not_scanned}." if not_scanned else ""),
            what_to_do="Delete what was found there, mend what wrote it, and decide whether it is an incident (24 "
            "hours). What was not looked at is no proof: give this process the right to look.",
            source=rules.NO_COPIES,
            numbers=scan.as_metadata(),
            notes={"not_scanned": not_scanned or "nothing", "left_out": "; ".join(scan.left_out)},
        ),
        scan,
    )


def scan_for_leaks(
    database: Database,
    held: StoredValues,
    *,
    dagster_url: str | None = None,
    folders: Sequence[Path] = (),
    secret_files: Sequence[Path] = (),
    budget_seconds: float = 600.0,
    clock: Callable[[], float] = time.monotonic,
    notify: Notify = silent,
) -> LeakScan:
    """Look through everything. Raises SQLAlchemyError if the tables of a database cannot be listed."""
    scan = LeakScan(hashed_records=held.records, unreadable=held.unreadable)
    starts = clock()
    with database.begin() as connection:
        # Who works here may be named by an e-mail address: in the audit log's actors, and in the tags of their runs.
        scanner = LeakScanner(held, scan, mail_addresses_of_actors(connection))
    scan_database(
        database, "table", SEALED_SCHEMAS, scanner, scan,
        ends=starts + TABLES_SHARE * budget_seconds, clock=clock, notify=notify,
    )  # fmt: skip
    if dagster_url is not None:
        dagster = Database(dagster_url, pool_size=1)
        try:
            # Where both share a database, only its public schema is Dagster's.
            scan_database(
                dagster, "dagster", (*SEALED_SCHEMAS, "pipeline", "audit"), scanner, scan,
                ends=starts + DAGSTER_SHARE * budget_seconds, clock=clock, notify=notify,
            )  # fmt: skip
        finally:
            dagster.close()
    secrets = frozenset(path.resolve() for path in secret_files)
    scan_files(FileTree(folders, secrets), scanner, scan, ends=starts + budget_seconds, clock=clock)
    present = sorted(path.name for path in secrets if path.exists())
    if present:
        scan.left_out.append(f"{', '.join(present)}: where secrets are kept")
    return scan


def _name_what_is_left_out(
    database: Database, scan: LeakScan, dagster_home: Path | None, data_dir: Path | None
) -> None:
    with database.begin() as connection:
        _, others, _ = names_beside(connection)
    scan.left_out.append(f"schemas {' and '.join(SEALED_SCHEMAS)}: every value is encrypted")
    if others:
        scan.left_out.append(f"the server's other databases: {', '.join(others)}")
    if dagster_home is not None and is_repository(dagster_home):
        scan.left_out.append("DAGSTER_HOME is a repository: only where Dagster writes was looked at")
    if data_dir is not None and (data_dir / "postgres" / "PG_VERSION").is_file():
        scan.left_out.append("PostgreSQL's own data files: looked through as tables")
    else:
        scan.left_out.append("PostgreSQL's log: it is on its own server")
    scan.left_out.append("what the processes print: it goes to their service manager")


def _listed(sentences: Sequence[str]) -> str:
    more = len(sentences) - PLACES_SHOWN
    return "; ".join(sentences[:PLACES_SHOWN]) + (f"; and {more} more" if more > 0 else "")
