"""Reports as Amazon keeps them: asked for, made after a while, and kept for thirty days.

Rules: Amazon's model reports_2021-06-30 and its pages as of 2026-11; where they are silent, the stricter reading.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from orders_pipeline.sandbox.clock import Clock

ALL_ORDERS_BY_LAST_UPDATE = "GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL"
IN_QUEUE, IN_PROGRESS, DONE, CANCELLED, FATAL = "IN_QUEUE", "IN_PROGRESS", "DONE", "CANCELLED", "FATAL"
STATUSES = (IN_QUEUE, IN_PROGRESS, DONE, CANCELLED, FATAL)
# Order reports are kept thirty days, then they are to be asked for again; other reports ninety.
KEPT = timedelta(days=30)
DOCUMENT_URL_LIFE = timedelta(seconds=300)


@dataclass
class Report:
    """One report. `outcome` is how it will end, decided when it is made; None until then."""

    report_id: str
    seller_id: str
    report_type: str
    marketplace_ids: list[str]
    data_start: datetime
    data_end: datetime
    created: datetime
    started: datetime
    ends: datetime
    outcome: str | None = None
    # What befell it: fatal, cancelled, stuck; None: nothing.
    fault: str | None = None
    document_id: str | None = None
    content: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class DocumentUrl:
    """A presigned address of a document: whoever has it may read, for five minutes."""

    document_id: str
    expires_at: datetime
    # What is wrong with what it gives: html, truncated, charset, header_only, extra_column, missing_column; None.
    fault: str | None
    content_encoding: bool


class Reports:
    """Every report and every address that was given out."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._numbers = itertools.count(50_001)
        self.lock = threading.RLock()
        self.by_id: dict[str, Report] = {}
        self.urls: dict[str, DocumentUrl] = {}
        # Requests for a document that came with a token, a cookie or a login: Amazon's storage wants none.
        self.credentials_sent = 0

    def new_id(self) -> str:
        return f"{next(self._numbers)}020{self._clock.now():%d%H%M}"

    def of_seller(self, seller_id: str) -> list[Report]:
        """What is still kept, newest first."""
        oldest = self._clock.now() - KEPT
        with self.lock:
            kept = [one for one in self.by_id.values() if one.seller_id == seller_id and one.created >= oldest]
        return sorted(kept, key=lambda one: (one.created, one.report_id), reverse=True)

    def status(self, report: Report) -> str:
        """Where it is now."""
        if report.outcome is not None:
            return report.outcome
        return IN_QUEUE if self._clock.now() < report.started else IN_PROGRESS
