"""Queries of Amazon's tokens: one row a token that all processes share, sealed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert

from orders_pipeline.channels.amazon.auth.tables import amazon_tokens
from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.database.locks import hold_name


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A sealed token, and how much of its life is over by the database's clock."""

    key_id: str
    wrapped_key: bytes = field(repr=False)
    nonce: bytes = field(repr=False)
    ciphertext: bytes = field(repr=False)
    life_seconds: float
    seconds_left: float


def lock_token(tx: AccountTransaction, application_id: str, purpose: str) -> None:
    """Hold the right to obtain this token until the transaction ends; waits for whoever obtains it now.

    The wait is bounded by the holder's own time-outs towards Amazon, which are longer than an ordinary lock's.
    """
    tx.execute(text("set local lock_timeout = '90s'"))
    tx.execute(text("set local statement_timeout = '95s'"))
    hold_name(tx.connection, f"amazon_token {application_id} {tx.account_id} {purpose}")


def read_token(tx: AccountTransaction, application_id: str, purpose: str) -> TokenRow | None:
    """The token as stored, or None."""
    table = amazon_tokens
    row = tx.execute(
        select(
            table.c.key_id,
            table.c.wrapped_key,
            table.c.nonce,
            table.c.ciphertext,
            func.extract("epoch", table.c.expires_at - table.c.obtained_at).label("life_seconds"),
            func.extract("epoch", table.c.expires_at - func.clock_timestamp()).label("seconds_left"),
        ).where(
            table.c.application_id == application_id, table.c.account_id == tx.account_id, table.c.purpose == purpose
        )
    ).one_or_none()
    if row is None:
        return None
    return TokenRow(
        key_id=row.key_id,
        wrapped_key=bytes(row.wrapped_key),
        nonce=bytes(row.nonce),
        ciphertext=bytes(row.ciphertext),
        life_seconds=float(row.life_seconds),
        seconds_left=float(row.seconds_left),
    )


def write_token(
    tx: AccountTransaction,
    application_id: str,
    purpose: str,
    *,
    key_id: str,
    wrapped_key: bytes,
    nonce: bytes,
    ciphertext: bytes,
    expires_at: datetime,
) -> None:
    """Store a token in the place of the one before it."""
    statement = insert(amazon_tokens).values(
        application_id=application_id,
        account_id=tx.account_id,
        purpose=purpose,
        key_id=key_id,
        wrapped_key=wrapped_key,
        nonce=nonce,
        ciphertext=ciphertext,
        obtained_at=func.clock_timestamp(),
        expires_at=expires_at,
    )
    statement = statement.on_conflict_do_update(
        index_elements=[amazon_tokens.c.application_id, amazon_tokens.c.account_id, amazon_tokens.c.purpose],
        set_={
            name: statement.excluded[name]
            for name in ("key_id", "wrapped_key", "nonce", "ciphertext", "obtained_at", "expires_at")
        },
    )
    tx.execute(statement)
