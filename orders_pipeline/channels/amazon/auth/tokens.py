"""Tokens that all processes share: obtained once, kept sealed, replaced in good time.

A token is bound to the authorisation that it came from: after the seller has authorised anew (to add a role, say), the
one in the cache is not used any more, though it would live for an hour.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from orders_pipeline.channels.amazon.auth import rows as store
from orders_pipeline.channels.amazon.errors import AmazonUnavailable
from orders_pipeline.channels.amazon.timing import Deadline, Timing
from orders_pipeline.database.engine import AccountTransaction, Database, database_now
from orders_pipeline.vault.envelope import SealedRecord, open_sealed, seal, token_context
from orders_pipeline.vault.errors import VaultError
from orders_pipeline.vault.keys import KeyProvider

logger = logging.getLogger(__name__)

# Five minutes early, or a tenth of a short life.
EARLY_SECONDS = 300.0
EARLY_SHARE = 0.1
# Amazon's tokens live an hour. One that is said to live for minutes less than this would be asked for at every call;
# one that dies early all the same is refused once, and replaced.
DEFAULT_LIFE_SECONDS, SHORTEST_LIFE_SECONDS, LONGEST_LIFE_SECONDS = 3600.0, 60.0, 86_400.0
# While Login with Amazon fails and the old token lives, it is asked this often.
OUTAGE_PAUSE_SECONDS = 30.0


# Who asks for a token holds a connection of the pool meanwhile. While Login with Amazon hangs, fifty sellers would hold
# all of them, and with them who has a token and needs none.
_TURNS = threading.BoundedSemaphore(4)


@contextmanager
def _a_turn(deadline: Deadline) -> Generator[None]:
    if not _TURNS.acquire(timeout=max(deadline.remaining, 0.0)):
        raise AmazonUnavailable(
            "Login with Amazon was not asked: others wait for its answer. It is tried again.",
            operation="Login with Amazon",
        )
    try:
        yield
    finally:
        _TURNS.release()


@dataclass(frozen=True, slots=True)
class Issued:
    """A token as Amazon gave it."""

    token: str = field(repr=False)
    life_seconds: float


def life_of(given: object) -> float:
    """Seconds that a token lives, as the answer told it: an hour if it did not, within a minute and a day if it did."""
    if not isinstance(given, int | float) or isinstance(given, bool) or not given > 0:
        return DEFAULT_LIFE_SECONDS
    # Compared before it becomes a float: an integer of hundreds of digits is none.
    return float(min(max(given, SHORTEST_LIFE_SECONDS), LONGEST_LIFE_SECONDS))


Obtain = Callable[[Deadline], Issued]


@dataclass(frozen=True, slots=True)
class _Held:
    token: str = field(repr=False)
    fresh_until: float
    dead_at: float


class TokenCache:
    """The tokens of one application and seller. Thread-safe."""

    def __init__(
        self,
        database: Database,
        keys: KeyProvider,
        *,
        application_id: str,
        account_id: str,
        region: str,
        grant: str | Callable[[], str],
        timing: Timing | None = None,
    ) -> None:
        """`grant` names the authorisation (a fingerprint, no secret), or tells its name: tokens of another are not
        used. It may raise an AmazonError: then there is no authorisation, and no token.
        """
        self._database = database
        self._keys = keys
        self._application_id = application_id
        self._account_id = account_id
        self._region = region
        self._grant: Callable[[], str] = grant if callable(grant) else lambda: grant
        self._timing = timing or Timing()
        self._held: dict[str, _Held] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def current(self, purpose: str, obtain: Obtain, deadline: Deadline, *, early_seconds: float | None = None) -> str:
        """A token that is good for a while: from memory, else from the table, else a new one."""
        held = self._held.get(purpose)
        if held is not None and self._timing.monotonic() < held.fresh_until:
            return held.token
        return self._obtained(purpose, obtain, deadline, early_seconds, refused=None)

    def replace(
        self, purpose: str, refused: str, obtain: Obtain, deadline: Deadline, *, early_seconds: float | None = None
    ) -> str:
        """Another token than the one that Amazon refused: what somebody obtained meanwhile, else a new one."""
        return self._obtained(purpose, obtain, deadline, early_seconds, refused=refused)

    def _obtained(
        self, purpose: str, obtain: Obtain, deadline: Deadline, early_seconds: float | None, *, refused: str | None
    ) -> str:
        with self._lock(purpose):
            held = self._held.get(purpose)
            if held is not None and held.token == refused:
                # Whatever becomes of this: nobody is asked with it again.
                del self._held[purpose]
            if held is None or not self._is_good(held, refused):
                with self._database.transaction(self._account_id) as tx:
                    held = self._stored(tx, purpose, early_seconds)
            if held is None or not self._is_good(held, refused):
                with _a_turn(deadline), self._database.transaction(self._account_id) as tx:
                    store.lock_token(tx, self._application_id, self._purpose(purpose))
                    # Somebody may have obtained it while we waited for the lock.
                    held = self._stored(tx, purpose, early_seconds)
                    if held is None or not self._is_good(held, refused):
                        old = held if held is not None and held.token != refused else None
                        held = self._renewed(tx, purpose, obtain, deadline, early_seconds, old)
            self._held[purpose] = held
            return held.token

    def _is_good(self, held: _Held, refused: str | None) -> bool:
        return held.token != refused and self._timing.monotonic() < held.fresh_until

    def _renewed(
        self,
        tx: AccountTransaction,
        purpose: str,
        obtain: Obtain,
        deadline: Deadline,
        early_seconds: float | None,
        still_valid: _Held | None,
    ) -> _Held:
        try:
            issued = obtain(deadline)
        except AmazonUnavailable:
            # That is what "early" is for: an outage of Login with Amazon stops nobody whose token lives on.
            now = self._timing.monotonic()
            if still_valid is None or now >= still_valid.dead_at:
                raise
            logger.warning("No new token (%s) for now; the old one is used on.", purpose)
            return _Held(still_valid.token, min(now + OUTAGE_PAUSE_SECONDS, still_valid.dead_at), still_valid.dead_at)
        self._store(tx, purpose, issued)
        return self._hold(issued.token, issued.life_seconds, issued.life_seconds, early_seconds)

    def _stored(self, tx: AccountTransaction, purpose: str, early_seconds: float | None) -> _Held | None:
        row = store.read_token(tx, self._application_id, self._purpose(purpose))
        if row is None or row.seconds_left <= 0:
            return None
        sealed = SealedRecord(row.key_id, row.wrapped_key, row.nonce, row.ciphertext)
        try:
            content = json.loads(open_sealed(self._keys, sealed, self._context(purpose)))
            token, grant = str(content["token"]), content["grant"]
        except (VaultError, ValueError, KeyError, TypeError) as error:
            logger.warning(
                "A stored token (%s) cannot be opened (%s): a new one is obtained.", purpose, type(error).__name__
            )
            return None
        if grant != self._grant():
            return None
        return self._hold(token, row.life_seconds, row.seconds_left, early_seconds)

    def _store(self, tx: AccountTransaction, purpose: str, issued: Issued) -> None:
        content = json.dumps({"token": issued.token, "grant": self._grant()}).encode()
        try:
            sealed = seal(self._keys, content, self._context(purpose))
        except VaultError as error:
            # The token works all the same; only the other processes have to obtain one of their own.
            logger.warning(
                "A token (%s) cannot be sealed (%s): it is kept in memory only.", purpose, type(error).__name__
            )
            return
        store.write_token(
            tx,
            self._application_id,
            self._purpose(purpose),
            key_id=sealed.key_id,
            wrapped_key=sealed.wrapped_key,
            nonce=sealed.nonce,
            ciphertext=sealed.ciphertext,
            expires_at=database_now(tx.connection) + timedelta(seconds=issued.life_seconds),
        )

    def _hold(self, token: str, life: float, left: float, early_seconds: float | None) -> _Held:
        early = min(EARLY_SECONDS, EARLY_SHARE * life) if early_seconds is None else early_seconds
        now = self._timing.monotonic()
        return _Held(token, now + left - early, now + left)

    def _purpose(self, purpose: str) -> str:
        # An authorisation is for one region, and so are its tokens.
        return f"{purpose}@{self._region}"

    def _context(self, purpose: str) -> dict[str, str]:
        return token_context(
            application_id=self._application_id, account_id=self._account_id, purpose=self._purpose(purpose)
        )

    def _lock(self, purpose: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(purpose, threading.Lock())


class TokenSource:
    """One kind of token, ready to be asked for."""

    def __init__(self, cache: TokenCache, purpose: str, obtain: Obtain, *, early_seconds: float | None = None) -> None:
        self._cache = cache
        self._purpose = purpose
        self._obtain = obtain
        self._early_seconds = early_seconds

    def current(self, deadline: Deadline) -> str:
        return self._cache.current(self._purpose, self._obtain, deadline, early_seconds=self._early_seconds)

    def replace(self, refused: str, deadline: Deadline) -> str:
        return self._cache.replace(self._purpose, refused, self._obtain, deadline, early_seconds=self._early_seconds)
