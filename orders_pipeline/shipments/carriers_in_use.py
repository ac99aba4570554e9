"""Which carrier table of the user's is in use: the file in the data folder, or what could last be read of it.

A file that Excel saved otherwise, or that is being written, must not stop any confirmation, nor make known carriers
unknown ones. Each run is a new process, perhaps on another machine: what was last good is kept in the database.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from orders_pipeline.channels.amazon.carriers import (
    TABLE_FILE,
    CarrierTable,
    CarrierTableError,
    read_override_table,
    read_overrides,
)
from orders_pipeline.database.engine import Database
from orders_pipeline.shipments.carrier_files import keep_good_text, last_good_text, note_problem

# A file that was changed so recently, and is the beginning of the one before, is probably not whole yet.
WRITING_SECONDS = 10.0
_SEEN_FILE = f"{TABLE_FILE}.seen"

logger = logging.getLogger(__name__)


def carriers_in_use(database: Database, *, data_dir: Path) -> CarrierTable:
    """The user's own table; the last good one, with an alert, where the file cannot be read or is gone."""
    # By name: the data folder may be mounted at another place in each process.
    path = TABLE_FILE
    with database.begin() as connection:
        last_good = last_good_text(connection, path)
        stored = _stored_table(last_good)
        try:
            text = read_overrides(data_dir)
            table = None if text is None else read_override_table(text, data_dir)
        except CarrierTableError as error:
            _note_file(data_dir)
            note_problem(connection, path, _told(str(error), stored, last_good))
            return stored.table
        if text is None or table is None:
            _note_missing_file(connection, data_dir, stored, last_good)
            return stored.table
        _note_file(data_dir)
        if last_good is not None and stored.error is None and _is_being_written(data_dir, text, last_good):
            return stored.table
        if text != last_good:
            keep_good_text(connection, path, text)
        note_problem(connection, path, None)
        return table


@dataclass(frozen=True, slots=True)
class _StoredTable:
    """The table as it was last read; `error`: why this release cannot read it any more."""

    table: CarrierTable
    error: str | None = None


def _stored_table(last_good: str | None) -> _StoredTable:
    if last_good is None:
        return _StoredTable(CarrierTable())
    try:
        return _StoredTable(read_override_table(last_good, Path("stored")))
    except CarrierTableError as error:
        return _StoredTable(CarrierTable(), str(error))


def _note_missing_file(connection: Connection, data_dir: Path, stored: _StoredTable, last_good: str | None) -> None:
    if (data_dir / _SEEN_FILE).exists():
        if last_good is None:
            note_problem(connection, TABLE_FILE, None)
            return
        gone = (
            f"{data_dir / TABLE_FILE} is gone. If you want no carriers of your own any more, put a file there with "
            "nothing but the line of the columns."
        )
        note_problem(connection, TABLE_FILE, _told(gone, stored, last_good))
    elif stored.error is not None:
        note_problem(connection, TABLE_FILE, _told(f"{data_dir} has no {TABLE_FILE}.", stored, last_good))
    # Else the file is on another machine, which tells of it, and closes what it told.


def _note_file(data_dir: Path) -> None:
    """Remember that this data folder has had the file: only then can it be gone from here."""
    seen = data_dir / _SEEN_FILE
    if seen.exists():
        return
    try:
        seen.write_text(f"This folder has had a {TABLE_FILE}: if it is missing, an alert tells of it.\n", "utf-8")
    except OSError as error:
        # A folder that takes no files: nobody is told if the file is gone from it, and the last good table stays.
        logger.info("%s cannot be written in the data folder (%s).", _SEEN_FILE, type(error).__name__)


def _is_being_written(data_dir: Path, text: str, last_good: str) -> bool:
    if text == last_good or not last_good.startswith(text):
        return False
    try:
        age = time.time() - (data_dir / TABLE_FILE).stat().st_mtime
    except OSError:
        return True
    return 0 <= age < WRITING_SECONDS


def _told(problem: str, stored: _StoredTable, last_good: str | None) -> str:
    if last_good is None:
        meanwhile = "It was never readable, so carriers that only it names are confirmed as 'Other'."
    elif stored.error is not None:
        meanwhile = (
            f"What was last read is no table for this release ({stored.error}) So carriers that only it names are "
            "confirmed as 'Other'."
        )
    else:
        meanwhile = "The table as it was last read stays in use."
    return f"{problem} {meanwhile}"
