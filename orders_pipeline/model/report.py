"""A report of Amazon's: what is asked for, how far it is, and the document that it ends in."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from orders_pipeline.model.order import Priority


class ReportState(StrEnum):
    """Where a report is that we want. All but the first are Amazon's words, in lower case; the set is open there."""

    WANTED = "wanted"
    IN_QUEUE = "in_queue"
    IN_PROGRESS = "in_progress"
    DONE = "done"
    CANCELLED = "cancelled"
    FATAL = "fatal"


# Amazon does no more about it.
ENDED = frozenset({ReportState.DONE, ReportState.CANCELLED, ReportState.FATAL})


def report_state(word: str) -> ReportState:
    """The state of Amazon's word; one that we do not know is on its way, until the report is late."""
    try:
        return ReportState(word.lower())
    except ValueError:
        return ReportState.IN_PROGRESS


@dataclass(frozen=True, slots=True)
class ReportSpecification:
    """What a report is to hold: this type's data of [data_start, data_end), aware, UTC, of these marketplaces."""

    report_type: str
    data_start: datetime
    data_end: datetime
    marketplace_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """A report as Amazon shows it. Its id is unique only within the seller. Times are aware, UTC.

    CANCELLED: by somebody, for want of data, or asked for too often. FATAL: it failed; its document may say why.
    """

    report_id: str
    report_type: str
    state: ReportState
    created_at: datetime
    marketplace_ids: tuple[str, ...] = ()
    data_start: datetime | None = None
    data_end: datetime | None = None
    document_id: str | None = None

    def answers(self, wanted: ReportSpecification) -> bool:
        """Whether it holds, or will hold, exactly what is wanted. One that was cancelled or failed answers nothing."""
        same = (self.report_type, self.data_start, self.data_end) == (
            wanted.report_type,
            wanted.data_start,
            wanted.data_end,
        )
        ended_well = self.state not in (ReportState.CANCELLED, ReportState.FATAL)
        return same and ended_well and set(self.marketplace_ids) == set(wanted.marketplace_ids)


@dataclass(frozen=True, slots=True)
class ReportDocument:
    """A report's file as it was received: bytes in this charset (a codec of Python's), compressed or not.

    May hold a buyer's city and postal code: it is kept in memory alone, and never logged.
    """

    content: bytes = field(repr=False)
    charset: str
    is_gzip: bool


class ReportsPort(Protocol):
    """Asks for reports and reads them. Each call spends quota; `deadline_seconds` bounds the wait for it.

    Every method raises AmazonError (see channels.amazon.errors).
    """

    def create_report(
        self, wanted: ReportSpecification, *, priority: Priority = Priority.BACKFILL, deadline_seconds: float = 20.0
    ) -> str:
        """Its id. After AmazonUnavailable it may have been created all the same: look for it before asking again."""
        ...

    def find_reports(
        self,
        report_type: str,
        *,
        created_since: datetime,
        states: Collection[ReportState] = (),
        priority: Priority = Priority.BACKFILL,
        deadline_seconds: float = 20.0,
    ) -> list[Report]:
        """Reports of this type, newest first, whoever asked for them. Amazon lists those of ninety days."""
        ...

    def get_report(
        self, report_id: str, *, priority: Priority = Priority.BACKFILL, deadline_seconds: float = 20.0
    ) -> Report: ...

    def read_document(
        self, document_id: str, *, priority: Priority = Priority.BACKFILL, deadline_seconds: float = 120.0
    ) -> ReportDocument:
        """The whole document. AmazonProtocolError for one that is too large, or is not a report's document."""
        ...
