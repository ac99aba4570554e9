"""`POST /webhooks/warehouse`: the warehouse says at once what left, instead of being asked.

The adapter says whether a call is the warehouse's, and what is in it; the events are recorded as a poll records them,
and the answer follows the commit. A sender that hears of none sends again, and what came twice is kept once.

Anybody may call. So a body is read whole, bounded in size and time, before anything else is taken up: no connection to
the database, no thread. A call that is not believed costs a hash; what is said of it is said for many at once.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta

from anyio import CapacityLimiter, fail_after, sleep, to_thread
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from orders_pipeline.database.embedded import EmbeddedPostgresError
from orders_pipeline.database.engine import Database
from orders_pipeline.model.webhook import WebhookRefusal
from orders_pipeline.operations.deployment import Deployment
from orders_pipeline.shipments.event_rows import note_refused_webhooks, note_webhook
from orders_pipeline.shipments.record import record_shipments
from orders_pipeline.web.journal import Journal
from orders_pipeline.wms.port import ShipmentPage, WebhookRefused
from orders_pipeline.wms.rest.webhooks import SIGNATURE_HEADER
from orders_pipeline.work.workers import error_location

WEBHOOK_PATH = "/webhooks/warehouse"
# Some five thousand events; a page of a poll has two hundred.
BODY_BYTES = 1024 * 1024
# From the first byte of the body to the last, however they come.
READ_SECONDS = 10.0
# Bodies that are read at once: 32 megabytes of memory at most. One more is to come again.
READ_AT_ONCE = 32
# Threads that hash and commit, beside the UI's own. Behind them wait no more calls than can be read at once.
COMMITS_AT_ONCE = 4
# So often is said in the log, the audit log and the store what was refused, if anything was; the first at once.
TELL_EVERY_SECONDS = 30.0
# For so long the database's clock is carried on by this process's own, which runs no other way in a minute.
CLOCK_IS_READ_EVERY_SECONDS = 60.0
_STATUS = {WebhookRefusal.NO_SECRET: 403, WebhookRefusal.FORM: 400}
_UNAUTHORIZED, _TOO_LATE, _TOO_LARGE, _UNAVAILABLE = 401, 408, 413, 503
_logger = logging.getLogger("orders_pipeline.web")


class Webhooks:
    """The route, and what its calls share."""

    def __init__(
        self,
        deployment: Deployment,
        journal: Journal,
        *,
        read_seconds: float = READ_SECONDS,
        tell_every_seconds: float = TELL_EVERY_SECONDS,
    ) -> None:
        self._deployment = deployment
        self._journal = journal
        self._read_seconds = read_seconds
        self._tell_every_seconds = tell_every_seconds
        self._clock: CarriedClock | None = None
        self._limiter = CapacityLimiter(COMMITS_AT_ONCE)
        self._reading = 0
        self._refused: Counter[WebhookRefusal] = Counter()
        self._telling: asyncio.Task[None] | None = None

    def routes(self) -> list[Route]:
        return [Route(WEBHOOK_PATH, self._receive, methods=["POST"])]

    async def _receive(self, request: Request) -> Response:
        if self._reading >= READ_AT_ONCE:
            return _answer(_UNAVAILABLE, "Too many webhooks at once: send it again.")
        self._reading += 1
        try:
            body = await self._body(request)
            if isinstance(body, Response):
                return body
            return await to_thread.run_sync(self._take, _joined(request.headers), body, limiter=self._limiter)
        except WebhookRefused as refused:
            is_anybodys = refused.reason is WebhookRefusal.NO_SECRET and SIGNATURE_HEADER not in request.headers
            self._note(WebhookRefusal.UNSIGNED if is_anybodys else refused.reason)
            return _answer(_STATUS.get(refused.reason, _UNAUTHORIZED), f"{refused}.")
        finally:
            self._reading -= 1

    async def _body(self, request: Request) -> bytes | Response:
        too_large = _answer(_TOO_LARGE, f"A webhook has at most {BODY_BYTES:,} bytes: send fewer events.")
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and (len(announced) > 18 or int(announced) > BODY_BYTES):
            return too_large
        body = bytearray()
        try:
            with fail_after(self._read_seconds):
                async for part in request.stream():
                    body += part
                    if len(body) > BODY_BYTES:
                        return too_large
        except TimeoutError:
            return _answer(_TOO_LATE, f"The body was not whole within {self._read_seconds:g} s.")
        except ClientDisconnect:
            return _answer(_TOO_LATE, "The sender went away.")
        return bytes(body)

    def _take(self, headers: Mapping[str, str], body: bytes) -> Response:
        """Commit the events for every account, and answer. Raises WebhookRefused."""
        try:
            page = self._read(headers, body)
            accounts = self._deployment.accounts()
        except WebhookRefused:
            raise
        except Exception as error:  # noqa: BLE001 - an adapter may be somebody's own, and its error tell what was sent
            return _not_stored(error)
        failed = [error for one in accounts if (error := self._record(one.account_id, page))]
        return _not_stored(failed[0]) if failed else Response(status_code=204)

    def _read(self, headers: Mapping[str, str], body: bytes) -> ShipmentPage:
        if not self._deployment.takes_webhooks:
            raise WebhookRefused(WebhookRefusal.NO_SECRET)
        return self._deployment.warehouse.parse_webhook(headers, body, self._now())

    def _record(self, account_id: str, page: ShipmentPage) -> Exception | None:
        """What kept this account's events from being committed. The other accounts' are, and the sender sends again."""
        deployment = self._deployment
        try:
            record_shipments(deployment.database, deployment.vault, page, account_id=account_id, note=note_webhook)
        except Exception as error:  # noqa: BLE001 - a defect that one account's events meet is not another's
            return error
        return None

    def _now(self) -> datetime:
        """The database's: between machines it decides, and a web process whose clock is wrong still takes webhooks."""
        if self._clock is None:
            self._clock = CarriedClock(self._deployment.database)
        return self._clock.now()

    def _note(self, reason: WebhookRefusal) -> None:
        self._refused[reason] += 1
        if self._telling is None:
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        """Say what was refused until nothing more is. A flood is one entry in a while."""
        try:
            while self._refused:
                refused, self._refused = self._refused, Counter()
                await to_thread.run_sync(self._say, refused)
                await sleep(self._tell_every_seconds)
        finally:
            self._telling = None

    def _say(self, refused: Mapping[WebhookRefusal, int]) -> None:
        counts = {str(reason): count for reason, count in refused.items()}
        _logger.warning("Webhooks were refused, by reason: %s", counts)
        # What is unsigned is anybody's, and says nothing of the warehouse.
        signed = {reason: count for reason, count in refused.items() if reason is not WebhookRefusal.UNSIGNED}
        try:
            for account_id in self._deployment.account_ids() if signed else ():
                with self._deployment.database.transaction(account_id) as tx:
                    note_refused_webhooks(tx, sum(signed.values()), max(signed, key=lambda reason: signed[reason]))
            self._journal.webhooks_refused(counts)
        except (SQLAlchemyError, EmbeddedPostgresError) as error:
            # Without its text, here and below: a database may quote in it what was being written.
            _logger.warning("Refused webhooks could not be noted: %s", error_location(error))


class CarriedClock:
    """The database's clock, asked once in a while, so that a flood of calls is no flood of queries. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._guard = threading.Lock()
        self._read: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        with self._guard:
            at = time.monotonic()
            if self._read is None or at - self._read[1] > CLOCK_IS_READ_EVERY_SECONDS:
                self._read = self._database.now(), at
            told, told_at = self._read
        return told + timedelta(seconds=time.monotonic() - told_at)


def _joined(headers: Headers) -> dict[str, str]:
    """A header that is there twice is one, with a comma between (RFC 9110, 5.2)."""
    return {name: ", ".join(headers.getlist(name)) for name in headers}


def _answer(status: int, sentence: str) -> Response:
    headers: dict[str, str] = {}
    if status == _UNAVAILABLE:
        headers["Retry-After"] = "5"
    if status == _TOO_LATE:
        # What is still to come of the body is not waited for.
        headers["Connection"] = "close"
    return PlainTextResponse(f"{sentence}\n", status_code=status, headers=headers)


def _not_stored(error: Exception) -> Response:
    _logger.error("A webhook could not be stored, and is to be sent again: %s", error_location(error))
    return _answer(_UNAVAILABLE, "It could not be stored: send it again.")
