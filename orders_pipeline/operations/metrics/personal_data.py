"""How much is kept of buyers, how old it is, and what is to be destroyed and is not yet. Counts and ages alone.

The reader's role sees nothing of the vault; this is read with the pipeline's own, in a transaction that only reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, text

from orders_pipeline.operations.metrics.family import Family, Group, Sample
from orders_pipeline.orders.erasures import NOT_ERASED

# It changes by the night; to count it reads an index entry for each record.
FRESH_SECONDS = 300.0
# The policy's limit is thirty days after delivery.
AGES = ((7, "up_to_7_days"), (14, "up_to_14_days"), (30, "up_to_30_days"), (60, "up_to_60_days"))
OLDER = "older"

RECORDS = Family(
    "orders_pipeline_personal_data_records",
    "gauge",
    "Sealed records of the vault (a buyer's details, set-aside messages), by how long ago they were first stored.",
    ("account", "age"),
)
OLDEST = Family(
    "orders_pipeline_personal_data_oldest_age_seconds",
    "gauge",
    "How long ago the oldest sealed record was first stored; 0 where there is none.",
    ("account",),
)
OWED = Family(
    "orders_pipeline_warehouse_erasures_owed",
    "gauge",
    "Orders whose buyer's data the warehouse was asked to erase, and has not erased yet.",
    ("account",),
)
OWED_AGE = Family(
    "orders_pipeline_warehouse_erasures_oldest_age_seconds",
    "gauge",
    "How long ago the warehouse was asked for the oldest of them; 0 where there is none.",
    ("account",),
)
ERASURES = Family(
    "orders_pipeline_erasure_requests_oldest_age_seconds",
    "gauge",
    "How long ago the oldest request to erase came that is not carried out; 0 where there is none.",
    ("account",),
)

_AGES = " ".join(
    f"when first_stored_at > statement_timestamp() - interval '{days} days' then '{name}'" for days, name in AGES
)
_RECORDS = text(f"""
    select age, count(*) as records from (
      select case {_AGES} else :older end as age from vault.records where account_id = :account_id) as kept group by age
""")  # noqa: S608  # our own constants, here and below
_OLDEST = text("""
    select coalesce(extract(epoch from clock_timestamp() - min(first_stored_at)), 0)::float from vault.records
    where account_id = :account_id
""")
_OWED = text(f"""
    select count(*) as orders,
      coalesce(extract(epoch from clock_timestamp() - min(erase_requested_at)), 0)::float as age
    from pipeline.wms_orders w where account_id = :account_id and erase_requested_at is not null and {NOT_ERASED}
""")  # noqa: S608  # our own constant
_ERASURES = text("""
    select coalesce(extract(epoch from clock_timestamp() - min(requested_at)), 0)::float from pipeline.erasures
    where account_id = :account_id and finished_at is null
""")


def _read(connection: Connection, account_ids: Sequence[str]) -> Iterator[Sample]:
    for account_id in account_ids:
        values = {"account_id": account_id}
        counted = {row.age: row.records for row in connection.execute(_RECORDS, {**values, "older": OLDER})}
        for age in (*(name for _, name in AGES), OLDER):
            yield Sample(RECORDS, (account_id, age), counted.get(age, 0))
        yield Sample(OLDEST, (account_id,), connection.execute(_OLDEST, values).scalar_one())
        owed = connection.execute(_OWED, values).one()
        yield Sample(OWED, (account_id,), owed.orders)
        yield Sample(OWED_AGE, (account_id,), owed.age)
        yield Sample(ERASURES, (account_id,), connection.execute(_ERASURES, values).scalar_one())


GROUP = Group(
    "personal_data", (RECORDS, OLDEST, OWED, OWED_AGE, ERASURES), _read, fresh_seconds=FRESH_SECONDS, as_reader=False
)
