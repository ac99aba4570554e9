"""The results of checks that cannot look without writing: the nightly retention looks, the check reads what it found.

Opening records leaves entries in the audit log and notes what was refused; a notice that was read is used up. A check
writes nothing, so that anybody may have it evaluated at any time.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from orders_pipeline.database.engine import Database
from orders_pipeline.privacy.check_result import CheckResult
from orders_pipeline.privacy.tables import check_results

# A nightly run, and two hours for it to be late.
BELIEVED_FOR = timedelta(hours=26)


def store_result(database: Database, result: CheckResult) -> None:
    """Keep what was found, in place of what was found before."""
    values = insert(check_results).values(name=result.name, result=asdict(result))
    newest = {"result": values.excluded.result, "found_at": func.clock_timestamp()}
    with database.begin() as connection:
        connection.execute(values.on_conflict_do_update(index_elements=[check_results.c.name], set_=newest))


def stored_result(database: Database, name: str) -> CheckResult:
    """What was found last, and when; red if nobody has looked for more than a day."""
    is_believed = check_results.c.found_at > func.clock_timestamp() - BELIEVED_FOR
    columns = select(check_results.c.result, check_results.c.found_at, is_believed.label("is_believed"))
    with database.begin() as connection:
        row = connection.execute(columns.where(check_results.c.name == name)).one_or_none()
    if row is None or not row.is_believed:
        when = "not yet" if row is None else f"last on {row.found_at:%Y-%m-%d %H:%M} UTC, more than a day ago"
        return CheckResult(
            name=name,
            passed=False,
            severity="WARN",
            description=f"The nightly retention has looked at it {when}.",
            what_to_do="Run the job shred_expired_pii; if it fails, open its run.",
            source="a check that has not looked shows nothing",
            numbers={},
        )
    result = CheckResult(**row.result)
    return replace(result, notes={**result.notes, "looked_at": f"{row.found_at:%Y-%m-%d %H:%M} UTC"})
