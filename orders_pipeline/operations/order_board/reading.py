"""A transaction that reads for people: by the reader role, and unable to write."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import Connection, text

from orders_pipeline.database.engine import Database
from orders_pipeline.privacy.access.roles import READER

# A page that takes longer is none that somebody waits for.
LONGEST_QUERY = "10s"
_BEGIN = text(f"""
select set_config('transaction_read_only', 'on', true), set_config('statement_timeout', '{LONGEST_QUERY}', true),
  (select set_config('role', rolname, true) from pg_roles
   where rolname = :reader and pg_has_role(current_user, oid, 'member')) as role
""")  # noqa: S608  # our own constant
_logger = logging.getLogger("orders_pipeline.board")


class ReaderRole:
    """Opens such transactions. Where the login is no member of the reader role it says so once, and reads as itself."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._has_warned = False

    @contextmanager
    def reading(self) -> Generator[Connection]:
        with self._database.begin() as connection:
            row = connection.execute(_BEGIN, {"reader": READER}).one()
            if row.role is None and not self._has_warned:
                self._has_warned = True
                _logger.warning(
                    "The order board reads with the rights of its own login, in transactions that cannot write: have "
                    "an administrator run `grant %s to` this login.",
                    READER,
                )
            yield connection
