"""Download a report's document from the presigned address that Amazon gave.

The address is a key: it is never logged, and no token goes to it. What is behind it may hold a buyer's city and postal
code: it stays in memory.
"""

from __future__ import annotations

import codecs
import re
from urllib.parse import urlsplit

import requests

from orders_pipeline.channels.amazon.errors import AmazonProtocolError, AmazonUnavailable
from orders_pipeline.channels.amazon.http.answers import no_answer
from orders_pipeline.channels.amazon.http.sessions import CONNECT_SECONDS, READ_SECONDS
from orders_pipeline.channels.amazon.quota.operations import GET_REPORT_DOCUMENT
from orders_pipeline.channels.amazon.timing import Deadline
from orders_pipeline.http.hosts import has_one_reading, host_to_name, is_loopback
from orders_pipeline.http.replies import NoReply, Reply, exchange
from orders_pipeline.model.report import ReportDocument

# A month of five thousand orders a day is some eight megabytes of gzip.
LARGEST_DOCUMENT_BYTES = 64 * 1024 * 1024
# Less than the five minutes that the address lives.
DOWNLOAD_SECONDS = 240.0
# Amazon's buckets and its content network: nothing else is told who we are, or believed.
STORAGE_HOSTS = re.compile(r"(?:.+\.)(?:amazonaws\.com|amazonaws\.com\.cn|cloudfront\.net|amazon\.com)")
# Seller reports are not UTF-8 by contract: the header tells, and where it does not, they are Latin-1. Java's names and
# Python's differ: Amazon's Shift_JIS has the letters that only Windows-31J knows.
DEFAULT_CHARSET = "iso8859-1"
_OTHER_NAMES = {"shift_jis": "cp932", "windows-31j": "cp932", "ms932": "cp932", "sjis": "cp932"}
_CHARSETS = frozenset({"utf-8", "ascii", "iso8859-1", "iso8859-15", "cp1252", "cp932", "euc_jp", "gb18030", "utf-16"})
_CHARSET = re.compile(r"""charset\s*=\s*"?([A-Za-z0-9_.:-]{1,40})""", re.IGNORECASE)
_GZIP_MAGIC = b"\x1f\x8b"


class DocumentStorage:
    """Where documents are. `endpoint` is the API's: only a local one may name documents on this machine."""

    def __init__(
        self,
        session: requests.Session,
        *,
        endpoint: str,
        seller_id: str,
        largest_bytes: int = LARGEST_DOCUMENT_BYTES,
        timeouts: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS),
    ) -> None:
        self._session = session
        self._on_this_machine = is_loopback(endpoint)
        self._seller_id = seller_id
        self._largest_bytes = largest_bytes
        self._timeouts = timeouts

    def download(self, url: str, *, is_gzip: bool, deadline: Deadline) -> ReportDocument | None:
        """The document; None if the address is not (or no longer) good. Raises AmazonError."""
        self._check(url)
        try:
            reply = exchange(
                self._session,
                "GET",
                url,
                timeouts=self._timeouts,
                total_seconds=min(DOWNLOAD_SECONDS, max(deadline.remaining, 1.0)),
                largest_bytes=self._largest_bytes,
            )
        except NoReply as error:
            raise no_answer(GET_REPORT_DOCUMENT, self._seller_id, f"its document: {error}") from None
        if reply.status == 403:
            return None
        self._check_reply(reply)
        # With Content-Encoding it has been unpacked on the way.
        return ReportDocument(
            content=reply.content,
            charset=self._charset(reply.headers.get("Content-Type", "")),
            is_gzip=is_gzip and reply.content.startswith(_GZIP_MAGIC),
        )

    def _check(self, url: str) -> None:
        if self._on_this_machine and is_loopback(url):
            return
        host = host_to_name(url) or ""
        if not (has_one_reading(url) and urlsplit(url).scheme == "https" and STORAGE_HOSTS.fullmatch(host)):
            raise self._refused(f"its address is not one of Amazon's storage (host {host or 'unreadable'})")

    def _check_reply(self, reply: Reply) -> None:
        if reply.status >= 500 or reply.status == 429:
            raise AmazonUnavailable(
                f"The document of a report for seller {self._seller_id}: the storage answered {reply.status}. It is "
                "tried again.",
                operation=GET_REPORT_DOCUMENT.name,
                status=reply.status,
            )
        if reply.status != 200:
            elsewhere = f", a redirect to {reply.redirect}, which is not followed" if reply.redirect else ""
            raise self._refused(f"the storage answered {reply.status}{elsewhere}")
        if reply.problem is not None:
            raise self._refused(reply.problem)
        if "html" in reply.headers.get("Content-Type", "").lower():
            raise self._refused("it is a web page. Look for a proxy on the way")

    def _charset(self, content_type: str) -> str:
        named = _CHARSET.search(content_type)
        if named is None:
            return DEFAULT_CHARSET
        name = named.group(1).lower()
        try:
            charset = codecs.lookup(_OTHER_NAMES.get(name, name)).name
        except LookupError:
            charset = ""
        if charset not in _CHARSETS:
            raise self._refused(f"its charset is not one that can be read ({name})")
        return charset

    def _refused(self, problem: str) -> AmazonProtocolError:
        return AmazonProtocolError(
            f"The document of a report for seller {self._seller_id}: {problem.rstrip('.')}. Nothing was taken from it.",
            operation=GET_REPORT_DOCUMENT.name,
        )
