"""Reports API 2021-06-30: createReport, getReports, getReport, cancelReport, getReportDocument.

And the storage behind a document's presigned address, which takes no credentials and forgets it after five minutes.
"""

from __future__ import annotations

import gzip
import json
import secrets
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from orders_pipeline.sandbox.amazon.accounts import INVENTORY_AND_ORDER_TRACKING
from orders_pipeline.sandbox.amazon.gate import Call, invalid_input, not_found, unauthorized
from orders_pipeline.sandbox.amazon.ledger import RecordedCall
from orders_pipeline.sandbox.amazon.order_report import COLUMNS, render
from orders_pipeline.sandbox.amazon.parameters import PageTokens, read_list, read_page_size, read_time
from orders_pipeline.sandbox.amazon.reports import (
    ALL_ORDERS_BY_LAST_UPDATE,
    CANCELLED,
    DOCUMENT_URL_LIFE,
    DONE,
    FATAL,
    IN_PROGRESS,
    IN_QUEUE,
    STATUSES,
    DocumentUrl,
    Report,
)
from orders_pipeline.sandbox.amazon.state import AmazonState
from orders_pipeline.sandbox.clock import iso, parse_iso

# Amazon makes these by itself, and refuses to be asked for one.
SCHEDULED_BY_AMAZON = "GET_V2_SETTLEMENT_REPORT_DATA_FLAT_FILE_V2"
LONGEST_WINDOW, OLDEST_DATA = timedelta(days=30), timedelta(days=2 * 365)
LISTED_BACK = timedelta(days=90)
SPECIFICATION = frozenset({"reportType", "marketplaceIds", "dataStartTime", "dataEndTime", "reportOptions"})
LISTING = frozenset(
    {*("reportTypes", "processingStatuses", "marketplaceIds", "pageSize", "createdSince", "createdUntil", "nextToken")}
)
DOCUMENTS = "/documents-of-reports"
FAULTS = ("html", "truncated", "charset", "header_only", "extra_column", "missing_column", "foreign_host", "expired")
# How Java, which writes these files, names what Python calls otherwise.
CODECS = {"Cp1252": "cp1252", "Shift_JIS": "cp932", "Windows-31J": "cp932", "UTF-8": "utf-8", "ISO-8859-1": "latin-1"}
ERROR = "<?xml version='1.0' encoding='UTF-8'?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"


class ReportsApi:
    def __init__(self, state: AmazonState) -> None:
        self._state = state
        self._reports = state.reports
        self._pages = PageTokens(state.clock)

    async def create_report(self, call: Call) -> tuple[int, dict[str, Any]]:
        self._check_role(call)
        body, now = call.json_body(), self._state.clock.now()
        if unknown := sorted(set(body) - SPECIFICATION):
            raise invalid_input(f"Unknown fields: {', '.join(unknown)}.")
        if body.get("reportType") == SCHEDULED_BY_AMAZON:
            raise invalid_input("This report type cannot be requested: it is scheduled by Amazon.")
        if body.get("reportType") != ALL_ORDERS_BY_LAST_UPDATE:
            raise invalid_input("Report Type is invalid.")
        marketplaces = body.get("marketplaceIds")
        if not isinstance(marketplaces, list) or not 1 <= len(marketplaces) <= 25:
            raise invalid_input("marketplaceIds must have 1 to 25 values.")
        if any(one not in call.seller.marketplace_ids for one in marketplaces):
            raise unauthorized("The marketplaces you provided are not valid for the selling partner.")
        options = body.get("reportOptions", {})
        if not isinstance(options, dict) or not all(isinstance(one, str) for one in options.values()):
            raise invalid_input("reportOptions must be texts.")
        start, end = _moment(body, "dataStartTime", now), _moment(body, "dataEndTime", now)
        if start > now or end > now:
            raise invalid_input("dataStartTime and dataEndTime must be prior to or equal to the current date and time.")
        if end < start or end - start > LONGEST_WINDOW or now - start > OLDEST_DATA:
            raise invalid_input("The date range is invalid: at most 30 days, not older than two years.")
        options_of_ours = self._state.options
        started = now + timedelta(seconds=options_of_ours.report_queue_seconds)
        fault = self._state.faults.take(("report_fatal", "report_cancelled", "report_stuck"), call.operation)
        report = Report(
            report_id=self._reports.new_id(),
            seller_id=call.seller.seller_id,
            report_type=body["reportType"],
            marketplace_ids=marketplaces,
            data_start=start,
            data_end=end,
            created=now,
            started=started,
            ends=started + timedelta(seconds=options_of_ours.report_work_seconds),
            fault=fault.kind.removeprefix("report_") if fault else None,
        )
        with self._reports.lock:
            self._reports.by_id[report.report_id] = report
        return 202, {"reportId": report.report_id}

    async def get_reports(self, call: Call) -> tuple[int, dict[str, Any]]:
        self._check_role(call)
        query = call.query()
        if unknown := sorted(set(query) - LISTING):
            raise invalid_input(f"Unknown query parameters: {', '.join(unknown)}.")
        if "nextToken" in query:
            if len(query) > 1:
                raise invalid_input("nextToken must be the only parameter.")
            remaining = self._pages.take(query["nextToken"], "reports", message="The page token is invalid.")
            size, *ids = remaining
        else:
            size = query.get("pageSize", "10")
            read_page_size({"pageSize": size}, "pageSize")
            ids = [one.report_id for one in self._listed(call, query)]
        page, rest = ids[: int(size)], ids[int(size) :]
        body: dict[str, Any] = {"reports": [self._rendered(self._reports.by_id[one]) for one in page]}
        if rest:
            body["nextToken"] = self._pages.put("reports", [size, *rest])
        return 200, body

    def _listed(self, call: Call, query: dict[str, str]) -> list[Report]:
        now = self._state.clock.now()
        types = read_list(query, "reportTypes", limit=10)
        if not types:
            raise invalid_input("reportTypes is required.")
        statuses = read_list(query, "processingStatuses", STATUSES) or STATUSES
        marketplaces = set(read_list(query, "marketplaceIds", limit=10))
        since = read_time(query, "createdSince") or now - LISTED_BACK
        until = read_time(query, "createdUntil") or now
        if since < now - LISTED_BACK:
            raise invalid_input(f"RequestedFromDate {iso(since)} is more than 90 days old.")
        return [
            one
            for one in self._reports.of_seller(call.seller.seller_id)
            if one.report_type in types
            and self._status_now(one) in statuses
            and (not marketplaces or marketplaces & set(one.marketplace_ids))
            and since <= one.created <= until
        ]

    async def get_report(self, call: Call) -> tuple[int, dict[str, Any]]:
        self._check_role(call)
        return 200, self._rendered(self._find(call))

    async def cancel_report(self, call: Call) -> tuple[int, dict[str, Any]]:
        report = self._find(call)
        if self._status_now(report) != IN_QUEUE:
            raise invalid_input("Only a report that is IN_QUEUE can be cancelled.")
        report.outcome, report.ends = CANCELLED, self._state.clock.now()
        return 200, {}

    async def get_report_document(self, call: Call) -> tuple[int, dict[str, Any]]:
        self._check_role(call)
        query = call.query()
        if set(query) - {"enableContentEncodingUrlHeader"}:
            raise invalid_input("Unknown query parameters.")
        document_id = call.request.path_params["document_id"]
        owned = [one for one in self._reports.of_seller(call.seller.seller_id) if one.document_id == document_id]
        if not owned:
            raise not_found("report document")
        fault = self._state.faults.take(tuple(f"document_{one}" for one in FAULTS), call.operation)
        kind = fault.kind.removeprefix("document_") if fault else None
        life = timedelta() if kind == "expired" else DOCUMENT_URL_LIFE
        key, encoded = secrets.token_urlsafe(24), query.get("enableContentEncodingUrlHeader") == "true"
        now = self._state.clock.now()
        self._reports.urls[key] = DocumentUrl(document_id, now + life, kind, encoded)
        base = "https://documents.example.net/" if kind == "foreign_host" else str(call.request.base_url)
        signed = urlencode({"X-Amz-Date": f"{now:%Y%m%dT%H%M%SZ}", "X-Amz-Expires": "300", "X-Amz-Signature": key})
        body = {"reportDocumentId": document_id, "url": f"{base.rstrip('/')}{DOCUMENTS}/{document_id}?{signed}"}
        if self._state.options.report_gzip and not encoded:
            body["compressionAlgorithm"] = "GZIP"
        return 200, body

    async def download(self, request: Request) -> Response:
        """What the storage answers to whoever has the address: no token is asked for, and none may come."""
        response = self._download(request)
        self._state.ledger.record_call(
            RecordedCall(self._state.clock.now(), "document", response.status_code, order_id=None)
        )
        return response

    def _download(self, request: Request) -> Response:
        if {"x-amz-access-token", "authorization", "cookie"} & set(request.headers):
            self._reports.credentials_sent += 1
            return _storage_error(400, "InvalidArgument", "Only one auth mechanism allowed")
        url = self._reports.urls.get(request.query_params.get("X-Amz-Signature", ""))
        if url is None or url.document_id != request.path_params["document_id"]:
            return _storage_error(403, "SignatureDoesNotMatch", "The request signature does not match.")
        if self._state.clock.now() >= url.expires_at:
            return _storage_error(403, "AccessDenied", "Request has expired")
        report = next(one for one in self._reports.by_id.values() if one.document_id == url.document_id)
        if url.fault == "html":
            return Response("<html><body><h1>It works!</h1></body></html>", media_type="text/html")
        charset = self._state.options.report_charset
        content = _damaged(report.content or "", url.fault).encode(CODECS[charset], "replace")
        if url.fault == "charset":
            charset = "UTF-8" if charset != "UTF-8" else "Shift_JIS"
        headers = {"Content-Type": f"text/plain;charset={charset}"}
        if self._state.options.report_gzip or url.content_encoding:
            content = gzip.compress(content, mtime=0)
        if url.content_encoding:
            headers["Content-Encoding"] = "gzip"
        if url.fault == "truncated":
            content = content[: len(content) // 2]
        return Response(content, headers=headers)

    def _check_role(self, call: Call) -> None:
        if INVENTORY_AND_ORDER_TRACKING not in call.roles:
            raise unauthorized("")

    def _find(self, call: Call) -> Report:
        report_id = call.request.path_params["report_id"]
        for report in self._reports.of_seller(call.seller.seller_id):
            if report.report_id == report_id:
                return report
        raise not_found("report")

    def _status_now(self, report: Report) -> str:
        """Its status; a report whose time has come is made now."""
        with self._reports.lock:
            due = report.outcome is None and report.fault != "stuck" and self._state.clock.now() >= report.ends
            if due:
                self._make(report)
            return self._reports.status(report)

    def _make(self, report: Report) -> None:
        if report.fault in ("fatal", "cancelled"):
            report.outcome = FATAL if report.fault == "fatal" else CANCELLED
            if report.outcome == FATAL:
                report.content = json.dumps({"errorDetails": "The report could not be generated."})
                report.document_id = _document_id()
            return
        with self._state.lock:
            orders = [
                one
                for one in self._state.orders_of(report.seller_id)
                if not one.unlisted
                and one.marketplace_id in report.marketplace_ids
                # Up to half an hour late: what changed just before it was made may not be in it.
                and report.data_start <= one.last_updated <= min(report.data_end, self._state.report_horizon())
            ]
            orders.sort(key=lambda one: one.created)
            content = render(orders)
        # A report without data is cancelled, not empty.
        report.outcome = DONE if orders else CANCELLED
        if orders:
            report.document_id, report.content = _document_id(), content

    def _rendered(self, report: Report) -> dict[str, Any]:
        status = self._status_now(report)
        body: dict[str, Any] = {
            "reportId": report.report_id,
            "reportType": report.report_type,
            "marketplaceIds": report.marketplace_ids,
            "dataStartTime": iso(report.data_start),
            "dataEndTime": iso(report.data_end),
            "createdTime": iso(report.created),
            "processingStatus": status,
        }
        if status not in (IN_QUEUE, CANCELLED):
            body["processingStartTime"] = iso(report.started)
        if status not in (IN_QUEUE, IN_PROGRESS):
            body["processingEndTime"] = iso(report.ends)
        if report.document_id is not None:
            body["reportDocumentId"] = report.document_id
        return body


def _damaged(content: str, fault: str | None) -> str:
    lines = [line.split("\t") for line in content.split("\r\n") if line]
    if fault == "header_only":
        lines = lines[:1]
    elif fault == "extra_column":
        lines = [["cpf" if number == 0 else "x", *line] for number, line in enumerate(lines)]
    elif fault == "missing_column":
        missing = COLUMNS.index("last-updated-date")
        lines = [[*line[:missing], *line[missing + 1 :]] for line in lines]
    else:
        return content
    return "".join("\t".join(line) + "\r\n" for line in lines)


def _document_id() -> str:
    return f"amzn1.spdoc.1.4.na.{secrets.token_hex(16)}.T1.2648"


def _moment(body: dict[str, Any], name: str, default: datetime) -> datetime:
    if name not in body:
        return default
    try:
        return parse_iso(body[name])
    except (TypeError, ValueError) as error:
        raise invalid_input(f"{name} is not in ISO 8601 format.") from error


def _storage_error(status: int, code: str, message: str) -> Response:
    return Response(ERROR.format(code=code, message=message), status_code=status, media_type="application/xml")
