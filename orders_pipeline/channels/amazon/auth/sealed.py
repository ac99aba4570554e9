"""Refresh tokens and client secrets, sealed beside the access tokens.

Whoever loses one needs a person to get another: unlike an access token it is never dropped for being unreadable
(`vault.envelope.LASTING_PURPOSES`), and the keys' lock is held while it is sealed, so that no rotation destroys the key
that wraps it.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete

from orders_pipeline.channels.amazon.auth.rows import read_token, write_token
from orders_pipeline.channels.amazon.auth.tables import amazon_tokens
from orders_pipeline.database.engine import AccountTransaction, database_now
from orders_pipeline.vault.envelope import REFRESH_PURPOSE, SealedRecord, open_sealed, seal, token_context
from orders_pipeline.vault.keys import KeyProvider
from orders_pipeline.vault.rows import hold_keys

# No end is known: Amazon tells of none, and refuses it one day.
_NO_END = timedelta(days=36_500)


def refresh_purpose(region: str) -> str:
    """An authorisation is for one region."""
    return f"{REFRESH_PURPOSE}@{region}"


def seal_token(
    tx: AccountTransaction,
    keys: KeyProvider,
    *,
    application_id: str,
    purpose: str,
    token: str,
    life: timedelta = _NO_END,
) -> None:
    """Seal it in the caller's transaction, in the place of the one before. Raises VaultError."""
    hold_keys(tx.connection)
    sealed = seal(keys, token.encode(), _context(tx, application_id, purpose))
    write_token(
        tx,
        application_id,
        purpose,
        key_id=sealed.key_id,
        wrapped_key=sealed.wrapped_key,
        nonce=sealed.nonce,
        ciphertext=sealed.ciphertext,
        expires_at=database_now(tx.connection) + life,
    )


def open_token(tx: AccountTransaction, keys: KeyProvider, *, application_id: str, purpose: str) -> str | None:
    """The token in clear, or None where there is none. Raises VaultError."""
    row = read_token(tx, application_id, purpose)
    if row is None:
        return None
    sealed = SealedRecord(row.key_id, row.wrapped_key, row.nonce, row.ciphertext)
    return open_sealed(keys, sealed, _context(tx, application_id, purpose)).decode()


def drop_token(tx: AccountTransaction, *, application_id: str, purpose: str) -> bool:
    """Forget it; whether it was there."""
    table = amazon_tokens
    statement = delete(table).where(
        table.c.application_id == application_id, table.c.account_id == tx.account_id, table.c.purpose == purpose
    )
    return bool(tx.execute(statement).rowcount)


def _context(tx: AccountTransaction, application_id: str, purpose: str) -> dict[str, str]:
    return token_context(application_id=application_id, account_id=tx.account_id, purpose=purpose)
