"""The database's clock against Amazon's, and stored times against both: what a wrong clock must not do.

Every answer of Amazon's tells the time. A difference of minutes is an alert, which closes by itself at the next answer
that agrees. A stored time that is still to come is put in its place by the retention (database.clocks), is in the audit
log, and turns the check red for the day.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.clocks import (
    count_future_times,
    mend_future_times,
    mended_since,
    note_reading,
    reading,
)
from orders_pipeline.database.engine import Database
from orders_pipeline.privacy import rules
from orders_pipeline.privacy.check_result import CheckResult
from orders_pipeline.work.workers import error_location

log = logging.getLogger(__name__)

# The header has whole seconds, and an answer may take half a minute to come.
CLOCKS_AGREE_WITHIN = timedelta(minutes=2)
NOTED_EVERY_SECONDS = 60.0
# Until the evening after the night in which it was found.
MENDED_IS_RED_FOR = timedelta(hours=20)


def amazon_time_observer(
    database: Database, *, every_seconds: float = NOTED_EVERY_SECONDS, clock: Callable[[], float] = time.monotonic
) -> Callable[[datetime], None]:
    """What the client calls with the time of each answer: kept once a minute. It never fails the call."""
    noted_at: float | None = None

    def note(amazon_time: datetime) -> None:
        nonlocal noted_at
        if noted_at is not None and clock() - noted_at < every_seconds:
            return
        noted_at = clock()
        try:
            with database.begin() as connection:
                note_reading(connection, amazon_time)
        except SQLAlchemyError as error:
            # The answer counts more than its time; the next one tells it again.
            log.warning("Amazon's time was not noted (%s)", error_location(error))

    return note


def mend_times(database: Database, audit: AuditLog) -> int:
    """Put stored times that are still to come in their place, and account for it; how many."""
    with database.begin() as connection:
        mended = mend_future_times(connection)
        times = sum(mended.values())
        if times:
            tables = ", ".join(sorted(table.split(".")[1] for table in mended))
            audit.record(
                connection, action="mend_times", account_id="*", purpose="stored times in the future",
                outcome="done", detail={"times": times, "tables": tables[:120]},
            )  # fmt: skip
    return times


def clocks_are_believable(database: Database) -> CheckResult:
    """No stored time is still to come, or was until today; the database's clock agrees with Amazon's."""
    with database.begin() as connection:
        future = count_future_times(connection)
        mended = mended_since(connection, MENDED_IS_RED_FOR)
        clock_reading = reading(connection)
    ahead = clock_reading.ahead if clock_reading is not None else timedelta()
    agrees = abs(ahead) <= CLOCKS_AGREE_WITHIN
    count = sum(future.values())
    where = f" ({', '.join(sorted(future))})" if future else ""
    return CheckResult(
        name="clocks_are_believable",
        passed=not count and not mended and agrees,
        severity="ERROR",
        description=f"{count} stored times are still to come{where}; the retention put {mended} in their place today. "
        + ("Amazon has told no time yet." if clock_reading is None else f"The database's clock is {_seconds(ahead)}."),
        what_to_do="Find out whose clock was ahead, or who changed the rows; set the clock right (runbook, 'Clocks').",
        source=rules.RETENTION,
        numbers={
            "future_times": count,
            "mended_in_the_last_day": mended,
            "seconds_ahead_of_amazon": round(ahead.total_seconds(), 1),
        },
    )


def _seconds(ahead: timedelta) -> str:
    seconds = round(ahead.total_seconds())
    return f"{abs(seconds)} seconds {'ahead of' if seconds > 0 else 'behind'} Amazon's"
