"""The Reports API 2021-06-30: ask for a report, follow it, and read its document.

No answer has a `payload` around it. Source: Amazon's model reports_2021-06-30.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from orders_pipeline.channels.amazon.api.report_documents import DocumentStorage
from orders_pipeline.channels.amazon.errors import AmazonUnavailable
from orders_pipeline.channels.amazon.fields import FieldProblem, Fields
from orders_pipeline.channels.amazon.http.answers import Answer, protocol_error
from orders_pipeline.channels.amazon.http.transport import AccessTokens, Request, Transport
from orders_pipeline.channels.amazon.quota.operations import (
    CREATE_REPORT,
    GET_REPORT,
    GET_REPORT_DOCUMENT,
    GET_REPORTS,
    Operation,
)
from orders_pipeline.channels.amazon.timing import Deadline
from orders_pipeline.model.order import Priority
from orders_pipeline.model.report import Report, ReportDocument, ReportSpecification, ReportState, report_state

PAGE_SIZE = 100
# A page costs forty seconds of its quota; a thousand reports of one type and day are nobody's.
MOST_PAGES = 10


class ReportsV2021:
    """Reports of one seller."""

    def __init__(self, transport: Transport, tokens: AccessTokens, storage: DocumentStorage) -> None:
        self._transport = transport
        self._tokens = tokens
        self._storage = storage

    def create_report(
        self, wanted: ReportSpecification, *, priority: Priority = Priority.BACKFILL, deadline_seconds: float = 20.0
    ) -> str:
        body = {
            "reportType": wanted.report_type,
            "marketplaceIds": list(wanted.marketplace_ids),
            "dataStartTime": _written(wanted.data_start),
            "dataEndTime": _written(wanted.data_end),
        }
        # Amazon has no key by which it would know a repetition.
        request = Request(CREATE_REPORT, CREATE_REPORT.path, body=body, repeatable=False)
        answer = self._call(request, priority, self._transport.deadline(deadline_seconds))
        return self._read(CREATE_REPORT, answer, lambda fields: fields.required_text("reportId"))

    def find_reports(
        self,
        report_type: str,
        *,
        created_since: datetime,
        states: Collection[ReportState] = (),
        priority: Priority = Priority.BACKFILL,
        deadline_seconds: float = 20.0,
    ) -> list[Report]:
        deadline = self._transport.deadline(deadline_seconds)
        query = {
            "reportTypes": report_type,
            "pageSize": str(PAGE_SIZE),
            "createdSince": _written(created_since),
            **({"processingStatuses": ",".join(sorted(state.upper() for state in states))} if states else {}),
        }
        found: list[Report] = []
        for _ in range(MOST_PAGES):
            answer = self._call(Request(GET_REPORTS, GET_REPORTS.path, query=query), priority, deadline)
            found += self._read(
                GET_REPORTS, answer, lambda fields: [_report(one) for one in fields.required_parts("reports")]
            )
            token = Fields(answer.body, "answer").opaque("nextToken")
            if token is None:
                break
            # Any other parameter beside it makes the request fail.
            query = {"nextToken": token}
        return found

    def get_report(
        self, report_id: str, *, priority: Priority = Priority.BACKFILL, deadline_seconds: float = 20.0
    ) -> Report:
        request = Request(GET_REPORT, GET_REPORT.url_path(report_id=report_id))
        answer = self._call(request, priority, self._transport.deadline(deadline_seconds))
        return self._read(GET_REPORT, answer, _report)

    def read_document(
        self, document_id: str, *, priority: Priority = Priority.BACKFILL, deadline_seconds: float = 120.0
    ) -> ReportDocument:
        deadline = self._transport.deadline(deadline_seconds)
        # The address lives five minutes, so it is asked for here and nowhere earlier; once anew if it is refused.
        for _ in range(2):
            url, is_gzip = self._document_address(document_id, priority, deadline)
            document = self._storage.download(url, is_gzip=is_gzip, deadline=deadline)
            if document is not None:
                return document
        raise AmazonUnavailable(
            f"getReportDocument for seller {self._transport.seller_id}: the address that it gave was refused twice "
            "(403). Compare this machine's clock with Amazon's (`orders-pipeline doctor`).",
            operation=GET_REPORT_DOCUMENT.name,
            status=403,
        )

    def _document_address(self, document_id: str, priority: Priority, deadline: Deadline) -> tuple[str, bool]:
        path = GET_REPORT_DOCUMENT.url_path(document_id=document_id)
        answer = self._call(Request(GET_REPORT_DOCUMENT, path), priority, deadline)

        def read(fields: Fields) -> tuple[str, bool]:
            url, algorithm = fields.opaque("url"), fields.text("compressionAlgorithm")
            if url is None:
                raise FieldProblem("answer.url is missing or unreadable")
            if algorithm not in (None, "GZIP"):
                raise FieldProblem("answer.compressionAlgorithm is not GZIP")
            return url, algorithm is not None

        return self._read(GET_REPORT_DOCUMENT, answer, read)

    def _call(self, request: Request, priority: Priority, deadline: Deadline) -> Answer:
        return self._transport.call(request, self._tokens, priority=priority, deadline=deadline)

    def _read(self, operation: Operation, answer: Answer, read: Any) -> Any:
        body: Mapping[str, Any] = answer.body
        try:
            return read(Fields(body, "answer"))
        except FieldProblem as problem:
            raise protocol_error(operation, self._transport.seller_id, answer.request_id, str(problem)) from None


def _report(fields: Fields) -> Report:
    return Report(
        report_id=fields.required_text("reportId"),
        report_type=fields.required_text("reportType"),
        state=report_state(fields.required_text("processingStatus")),
        created_at=fields.required_time("createdTime"),
        marketplace_ids=tuple(fields.texts("marketplaceIds")),
        data_start=fields.time("dataStartTime"),
        data_end=fields.time("dataEndTime"),
        document_id=fields.text("reportDocumentId"),
    )


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
