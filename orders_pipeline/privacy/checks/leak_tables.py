"""Looking through every table of a database for leaks: streamed, each table within its share of the time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from psycopg2.errors import InsufficientPrivilege, UndefinedTable
from sqlalchemy.exc import DBAPIError

from orders_pipeline.database.engine import Database
from orders_pipeline.privacy.checks.contents import columns_with_contents, contents_of, names_beside
from orders_pipeline.privacy.checks.leak_scanner import MAY_NOT_BE_READ, TIME_WAS_UP, LeakScan, LeakScanner
from orders_pipeline.work.progress import Notify, Progress


def scan_database(
    database: Database,
    label: str,
    without_schemas: Sequence[str],
    scanner: LeakScanner,
    scan: LeakScan,
    *,
    ends: float,
    clock: Callable[[], float],
    notify: Notify,
) -> None:
    """Look through every table but those of some schemas. One that cannot be read stops no other."""
    with database.begin() as connection:
        tables = columns_with_contents(connection, without_schemas)
        foreign, _, objects = names_beside(connection)
    for name in foreign:
        scan.left_out.append(f"{label} {name}: a foreign table is another server's")
    if objects:
        scan.not_scanned[f"{label} pg_largeobject", "large objects are not looked through"] += objects
    progress = Progress(f"{label} tables scanned", len(tables), notify)
    for number, ((schema, table), columns) in enumerate(tables.items()):
        place = f"{label} {schema}.{table}"
        # A share each of the time that is left: one long table leaves some for those after it.
        share_ends = clock() + (ends - clock()) / (len(tables) - number)
        names = [f"{place}.{column.name}" for column in columns]
        try:
            with database.engine.connect() as connection:
                for page in contents_of(connection, schema, table, columns):
                    for row in page:
                        for name, value in zip(names, row, strict=True):
                            if value is not None:
                                scanner.examine(value, name)
                    scan.rows += len(page)
                    if clock() > share_ends:
                        scan.not_scanned[place, TIME_WAS_UP] += 1
                        break
        except DBAPIError as error:
            if isinstance(error.orig, UndefinedTable):
                continue  # dropped since the list was made
            refused = isinstance(error.orig, InsufficientPrivilege)
            # Without the error's own text, which may hold a value.
            scan.not_scanned[place, MAY_NOT_BE_READ if refused else type(error.orig).__name__] += 1
        progress.advance(1)
