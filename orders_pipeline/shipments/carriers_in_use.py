"""Which carrier table of the user's is in use: the file in the data folder, or what could last be read of it.

A file that Excel saved otherwise, or that is being written, must not stop any confirmation, nor make known carriers
unknown ones. Each run is a new process, perhaps on another machine: what was last good is kept in the database.
"""

from __future__ import annotations

import time
from pathlib import Path

from sqlalchemy import Connection

from orders_pipeline.alerts.rows import close_alert, raise_alert
from orders_pipeline.channels.amazon.carriers import (
    TABLE_FILE,
    CarrierTable,
    CarrierTableError,
    read_override_table,
    read_overrides,
)
from orders_pipeline.database.engine import Database
from orders_pipeline.shipments.carrier_files import keep_good_text, last_good_text

FILE_ALERT = "carriers.file"
# A file that was changed so recently, and is the beginning of the one before, is probably not whole yet.
WRITING_SECONDS = 10.0


def carriers_in_use(database: Database, *, data_dir: Path, seller_id: str) -> CarrierTable:
    """The user's own table; the last good one, with an alert, where the file cannot be read or is gone."""
    # By name: the data folder may be mounted at another place in each process.
    path = TABLE_FILE
    with database.transaction() as connection:
        last_good = last_good_text(connection, path)
        try:
            text = read_overrides(data_dir)
            table = CarrierTable() if text is None else read_override_table(text, data_dir)
        except CarrierTableError as error:
            _alert(connection, seller_id, str(error), in_use=last_good is not None)
            return CarrierTable() if last_good is None else read_override_table(last_good, data_dir)
        if text is None and last_good is not None:
            gone = (
                f"{data_dir / TABLE_FILE} is gone. If you want no carriers of your own any more, put a file there with "
                "nothing but the line of the columns."
            )
            _alert(connection, seller_id, gone, in_use=True)
            return read_override_table(last_good, data_dir)
        if text is not None and last_good is not None and _is_being_written(data_dir, text, last_good):
            return read_override_table(last_good, data_dir)
        if text is not None and text != last_good:
            keep_good_text(connection, path, text)
        close_alert(connection, seller_id=seller_id, key=FILE_ALERT)
        return table


def _is_being_written(data_dir: Path, text: str, last_good: str) -> bool:
    if text == last_good or not last_good.startswith(text):
        return False
    try:
        age = time.time() - (data_dir / TABLE_FILE).stat().st_mtime
    except OSError:
        return True
    return 0 <= age < WRITING_SECONDS


def _alert(connection: Connection, seller_id: str, problem: str, *, in_use: bool) -> None:
    meanwhile = (
        "The table as it was last read stays in use."
        if in_use
        else "It was never readable, so carriers that only it names are confirmed as 'Other'."
    )
    raise_alert(
        connection,
        seller_id=seller_id,
        key=FILE_ALERT,
        severity="error",
        message=f"{problem} {meanwhile}",
        what_to_do="Mend the file; the next run reads it, and packages that went out as 'Other' are edited.",
    )
