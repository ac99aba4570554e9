"""Queries of Amazon's limits: one token bucket a (application, seller, region, operation), shared by all processes.

`tokens` is the level at `refilled_at`. It may be negative: each missing token is a reservation, due when the refill has
come to it; so those who wait are served in turn, neither too early nor leaving a token idle. `epoch` is raised when the
reservations are void. The level never exceeds `burst` less a headroom.

`synchronous_commit` is off for these statements: should the server crash, the last takes are forgotten, which costs at
most a 429; a take must not cost a disk write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from orders_pipeline.database.engine import AnyRow

# Two requests granted a moment apart can arrive at Amazon closer together than they left: one token is kept back.
HEADROOM = 1.0


@dataclass(frozen=True, slots=True)
class LimitKey:
    """Which bucket."""

    application_id: str
    seller_id: str
    region: str
    operation: str

    def parameters(self) -> dict[str, str]:
        return {
            "application_id": self.application_id,
            "seller_id": self.seller_id,
            "region": self.region,
            "operation": self.operation,
        }


@dataclass(frozen=True, slots=True)
class Take:
    """The answer to a take. Granted: send after `wait` seconds. Not granted: ask again after `wait` seconds."""

    granted: bool
    wait: float
    at: datetime
    rate: float
    epoch: int
    consecutive_failures: int
    breaker_open: bool


_KEY = "application_id = :application_id and seller_id = :seller_id and region = :region and operation = :operation"

_ENSURE = text(
    """
    insert into pipeline.amazon_rate_limits (application_id, seller_id, region, operation, rate, burst, tokens)
    values (:application_id, :seller_id, :region, :operation, :rate, :burst, :burst)
    on conflict (application_id, seller_id, region, operation) do update set burst = excluded.burst
    where pipeline.amazon_rate_limits.burst <> excluded.burst
    """
)

# The level now; the clock runs on within a statement, so what is written second is never the earlier moment.
_LEVEL = """
    least(
        greatest(burst - :headroom, 1),
        tokens + rate * greatest(extract(epoch from clock_timestamp() - refilled_at), 0)
    )
"""
_BLOCKED = "greatest(coalesce(extract(epoch from blocked_until - clock_timestamp()), 0), 0)"
_WAIT = f"greatest((1 + :leave - {_LEVEL}) / rate, {_BLOCKED})"

# PostgreSQL reads the row again after waiting for its lock, so two takes never see the same level.
# Half open: the first to come after breaker_open_until is let through, and shuts the door behind itself for as long as
# its answer may take.
_TAKE = text(
    f"""
    update pipeline.amazon_rate_limits set
        tokens = {_LEVEL} - 1,
        refilled_at = greatest(clock_timestamp(), refilled_at),
        granted = granted + 1,
        waited_seconds = waited_seconds + :waited + {_WAIT},
        breaker_open_until = case
            when breaker_open_until is not null then clock_timestamp() + make_interval(secs => :probe_seconds)
        end
    from (select set_config('synchronous_commit', 'off', true)) as quick
    where {_KEY} and coalesce(breaker_open_until <= clock_timestamp(), true) and {_WAIT} <= :patience
    returning greatest((:leave - tokens) / rate, {_BLOCKED}) as wait, clock_timestamp() as at, rate, epoch,
        consecutive_failures
    """  # noqa: S608 - no value is formatted in
)

# Why a take was not granted, and when to come again.
_CURRENT = text(
    f"""
    select case
            when breaker_open_until > clock_timestamp() then extract(epoch from breaker_open_until - clock_timestamp())
            else {_WAIT}
        end as wait,
        coalesce(breaker_open_until > clock_timestamp(), false) as breaker_open,
        clock_timestamp() as at, rate, epoch, consecutive_failures
    from pipeline.amazon_rate_limits where {_KEY}
    """  # noqa: S608 - no value is formatted in
)

_EPOCH = text(f"select epoch from pipeline.amazon_rate_limits where {_KEY}")  # noqa: S608 - no value is formatted in

_GIVE_BACK = text(
    f"""
    update pipeline.amazon_rate_limits set tokens = tokens + 1, granted = granted - 1
    where {_KEY} and epoch = :epoch
    """  # noqa: S608 - no value is formatted in
)

# What is negative is owed to reservations; they are void now, so only the fraction of a token stays.
_SET_RATE = text(
    f"""
    with timed as materialized (
        select *, clock_timestamp() as at from pipeline.amazon_rate_limits where {_KEY} for update
    ), levelled as (
        select *, tokens + timed.rate * greatest(extract(epoch from at - refilled_at), 0) as level from timed
    )
    update pipeline.amazon_rate_limits as target set
        rate = :new_rate,
        tokens = case
            when level < 0 then level - floor(level)
            else least(level, greatest(levelled.burst - :headroom, 1))
        end,
        refilled_at = greatest(levelled.at, levelled.refilled_at),
        epoch = target.epoch + 1
    from levelled
    where target.application_id = levelled.application_id and target.seller_id = levelled.seller_id
        and target.region = levelled.region and target.operation = levelled.operation
        and levelled.rate <> :new_rate
    """  # noqa: S608 - no value is formatted in
)

# What was reserved under such a rate is void. The level is not carried on: it was computed by that rate.
_HEAL = text(
    f"""
    update pipeline.amazon_rate_limits set
        rate = :new_rate, tokens = 0, refilled_at = clock_timestamp(), blocked_until = null, epoch = epoch + 1
    where {_KEY} and not (rate between :lowest * 0.999 and :highest * 1.001)
    """  # noqa: S608 - no value is formatted in
)

_FAILURE = f"""
    consecutive_failures = consecutive_failures + 1,
    breaker_open_until = case
        when consecutive_failures + 1 >= :breaker_failures then clock_timestamp() + make_interval(secs => least(
            :breaker_longest,
            :breaker_shortest * power(2, least(consecutive_failures + 1 - :breaker_failures, 30))
        ) * (1 + :jitter))
        else breaker_open_until
    end
    where {_KEY}
    returning consecutive_failures, breaker_open_until, blocked_until
"""

_FAILED = text(f"update pipeline.amazon_rate_limits set {_FAILURE}")  # noqa: S608 - no value is formatted in

# The refill starts late by the jitter, so that the first token is there exactly when the block ends.
_THROTTLED = text(
    f"""
    update pipeline.amazon_rate_limits set
        tokens = 0,
        refilled_at = clock_timestamp() + make_interval(secs => :jitter * greatest(1 / rate, :least_block)),
        blocked_until = clock_timestamp() + make_interval(secs => (1 + :jitter) * greatest(1 / rate, :least_block)),
        throttled = throttled + 1,
        epoch = epoch + 1,
        {_FAILURE}
    """  # noqa: S608 - no value is formatted in
)

_SUCCEEDED = text(
    f"""
    update pipeline.amazon_rate_limits set consecutive_failures = 0, breaker_open_until = null
    where {_KEY} and (consecutive_failures > 0 or breaker_open_until is not null)
    """  # noqa: S608 - no value is formatted in
)

_REPORT = text(
    f"""
    select operation, rate, burst, granted, throttled, waited_seconds, consecutive_failures,
        case when blocked_until > clock_timestamp() then blocked_until end as blocked_until,
        breaker_open_until,
        coalesce(breaker_open_until > clock_timestamp(), false) as breaker_open,
        {_LEVEL} as tokens
    from pipeline.amazon_rate_limits
    where application_id = :application_id and region = :region and seller_id = any(:seller_ids)
    order by operation
    """  # noqa: S608 - no value is formatted in
)


_BUCKET = text(
    f"""
    select {_LEVEL} as tokens, rate, burst,
        coalesce(greatest(blocked_until, breaker_open_until) > clock_timestamp(), false) as is_shut
    from pipeline.amazon_rate_limits where {_KEY}
    """  # noqa: S608 - no value is formatted in
)


def bucket_row(connection: Connection, key: LimitKey) -> AnyRow | None:
    """(tokens, rate, burst, is_shut) of one bucket now; None for one that was never used."""
    return connection.execute(_BUCKET, {**key.parameters(), "headroom": HEADROOM}).one_or_none()


def ensure_bucket(connection: Connection, key: LimitKey, *, rate: float, burst: float) -> None:
    """Make the bucket, full, unless it is there; a rate that Amazon announced earlier is kept."""
    connection.execute(_ENSURE, {**key.parameters(), "rate": rate, "burst": burst})


def take(
    connection: Connection,
    key: LimitKey,
    *,
    leave: float,
    patience: float,
    waited: float,
    probe_seconds: float,
) -> Take | None:
    """Take a token, or reserve one that is due within `patience` seconds; None if there is no such bucket yet.

    `leave` tokens stay in the bucket; `waited` seconds were spent on asking before, and are added to the account.
    """
    wanted = {**key.parameters(), "leave": leave, "headroom": HEADROOM}
    taken = connection.execute(
        _TAKE, {**wanted, "patience": patience, "waited": waited, "probe_seconds": probe_seconds}
    ).one_or_none()
    row = taken or connection.execute(_CURRENT, wanted).one_or_none()
    if row is None:
        return None
    return Take(
        granted=taken is not None,
        wait=float(row.wait),
        at=row.at,
        rate=float(row.rate),
        epoch=int(row.epoch),
        consecutive_failures=int(row.consecutive_failures),
        breaker_open=taken is None and bool(row.breaker_open),
    )


def current_epoch(connection: Connection, key: LimitKey) -> int | None:
    """The epoch now; a reservation of another one is void."""
    return connection.execute(_EPOCH, key.parameters()).scalar_one_or_none()


def give_back(connection: Connection, key: LimitKey, epoch: int) -> None:
    """Return a token that was not used, unless it is void anyway."""
    connection.execute(_GIVE_BACK, {**key.parameters(), "epoch": epoch})


def set_rate(connection: Connection, key: LimitKey, rate: float) -> None:
    """Follow the rate that Amazon announced. Reservations are void: their due times followed from the old rate."""
    connection.execute(_SET_RATE, {**key.parameters(), "new_rate": rate, "headroom": HEADROOM})


def heal_rate(connection: Connection, key: LimitKey, *, rate: float, lowest: float, highest: float) -> bool:
    """Set a stored rate that is outside of these bounds to `rate`, the bucket empty; True if it was."""
    bounds = {"new_rate": rate, "lowest": lowest, "highest": highest}
    return connection.execute(_HEAL, {**key.parameters(), **bounds}).rowcount > 0


def record_throttled(
    connection: Connection, key: LimitKey, *, jitter: float, least_block: float, breaker: Mapping[str, float]
) -> None:
    """A 429: empty the bucket, block it for one token's time and a share of it at random, count for the breaker."""
    connection.execute(
        _THROTTLED, {**key.parameters(), "jitter": jitter, "least_block": least_block, **_breaker(breaker)}
    )


def record_failed(connection: Connection, key: LimitKey, *, jitter: float, breaker: Mapping[str, float]) -> None:
    """No answer, or one that says that the service fails: count towards the breaker."""
    connection.execute(_FAILED, {**key.parameters(), "jitter": jitter, **_breaker(breaker)})


def record_succeeded(connection: Connection, key: LimitKey) -> None:
    """The operation answers: close the breaker."""
    connection.execute(_SUCCEEDED, key.parameters())


def limits_report(
    connection: Connection, *, application_id: str, region: str, seller_ids: list[str]
) -> Sequence[AnyRow]:
    """Every bucket of these sellers as it is now."""
    return list(
        connection.execute(
            _REPORT,
            {
                "application_id": application_id,
                "region": region,
                "seller_ids": seller_ids,
                "headroom": HEADROOM,
            },
        )
    )


# Of a seller whose application, or region, was another before, what was counted then counts on. Whole milliseconds: the
# sum of fractions depends on their order, and a counter must not go back by any.
_BY_OPERATION = text(
    f"""
    select seller_id, operation, sum({_LEVEL})::float as tokens, sum(burst)::float as burst, sum(rate)::float as rate,
        bool_or(coalesce(greatest(blocked_until, breaker_open_until) > clock_timestamp(), false)) as is_shut,
        sum(throttled)::bigint as throttled,
        (sum(floor(waited_seconds * 1000)::bigint) / 1000.0)::float as waited_seconds
    from pipeline.amazon_rate_limits where seller_id = any(:seller_ids)
    group by seller_id, operation order by seller_id, operation
    """  # noqa: S608 - no value is formatted in
)


def buckets_by_operation(connection: Connection, seller_ids: Sequence[str]) -> Sequence[AnyRow]:
    """(seller_id, operation, tokens, burst, rate, is_shut, throttled, waited_seconds) as they are now."""
    values = {"seller_ids": list(seller_ids), "headroom": HEADROOM}
    return connection.execute(_BY_OPERATION, values).all()


def _breaker(breaker: Mapping[str, float]) -> dict[str, float]:
    return {f"breaker_{name}": value for name, value in breaker.items()}
