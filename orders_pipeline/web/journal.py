"""What is done at the web port, in the audit log: logins, refused logins, logouts, every change, every report,
refused webhooks."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Protocol

from orders_pipeline.audit.log import person_actor
from orders_pipeline.operations.deployment import Deployment

# Names that nobody has, or that are locked: one entry a minute says how many tries there were, so that nobody can fill
# the log from outside.
_UNKNOWN_NAMES_EVERY_SECONDS = 60.0
_WEB = "job:web"
# An asset's key fits; what is longer is no asset of ours.
_PATH_CHARACTERS = 300
_logger = logging.getLogger("orders_pipeline.web")


class Journal(Protocol):
    """Each call raises if the entry could not be written: then what it tells of does not happen."""

    def logged_in(self, name: str) -> None: ...

    def login_refused(self, name: str | None, outcome: str) -> None: ...

    def logged_out(self, name: str) -> None: ...

    def changes(self, name: str, mutation: str) -> None: ...

    def reported(self, path: str) -> None: ...

    def webhooks_refused(self, counts: Mapping[str, int]) -> None: ...


class AuditJournal:
    """In this deployment's audit log."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._guard = threading.Lock()
        self._unknown = 0
        self._unknown_told_at: float | None = None

    def logged_in(self, name: str) -> None:
        self._record("web_login", person_actor(name), "login", "succeeded")

    def login_refused(self, name: str | None, outcome: str) -> None:
        """`name` is None where nobody is called that (what was typed could be a password), or it is locked already."""
        _logger.warning("A login was refused (%s).", outcome)
        if name is not None:
            self._record("web_login", _WEB, "login", outcome, name=name)
            return
        with self._guard:
            self._unknown += 1
            now = time.monotonic()
            if self._unknown_told_at is not None and now - self._unknown_told_at < _UNKNOWN_NAMES_EVERY_SECONDS:
                return
            tries, self._unknown, self._unknown_told_at = self._unknown, 0, now
        self._record("web_login", _WEB, "login", "unknown_or_locked", tries=tries)

    def logged_out(self, name: str) -> None:
        self._record("web_logout", person_actor(name), "logout", "done")

    def changes(self, name: str, mutation: str) -> None:
        self._record("web_change", person_actor(name), "asked for in the UI", "requested", mutation=mutation)

    def reported(self, path: str) -> None:
        """A program with the token reports a result that no run has found; the path says of which asset."""
        shown = "".join(character for character in path[:_PATH_CHARACTERS] if character.isprintable())
        self._record("web_report", _WEB, "reported by token", "requested", path=shown)

    def webhooks_refused(self, counts: Mapping[str, int]) -> None:
        """How many since the last such entry, by reason."""
        self._record("web_webhooks", _WEB, "claimed to be the warehouse's", "refused", **counts)

    def _record(self, action: str, actor: str, purpose: str, outcome: str, **detail: str | int) -> None:
        # A login is no account's: it stands under the first one.
        account_id = self._deployment.account_ids()[0]
        self._deployment.audit.record(
            None, action=action, account_id=account_id, purpose=purpose, outcome=outcome, actor=actor, detail=detail
        )
