"""When each work that starts by itself was last done, and since when it is watched."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text

from orders_pipeline.database.engine import AccountTransaction


def note_done(tx: AccountTransaction, work: str) -> None:
    """This work was done, to its end, at this moment."""
    tx.execute(
        text("""
            insert into pipeline.work_done (account_id, work, done_at) values (:account_id, :work, clock_timestamp())
            on conflict (account_id, work) do update set done_at = excluded.done_at
        """),
        {"account_id": tx.account_id, "work": work},
    )


def watch(tx: AccountTransaction, works: Sequence[str]) -> None:
    """Watch these works from now on, where they are not watched yet: a fresh installation owes nothing."""
    tx.execute(
        text("""
            insert into pipeline.work_done (account_id, work)
            select :account_id, unnest(cast(:works as text[])) on conflict do nothing
        """),
        {"account_id": tx.account_id, "works": list(works)},
    )
