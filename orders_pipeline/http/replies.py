"""One request and its answer, under a limit of time and a limit of size.

A few hundred kilobytes of gzip can hold gigabytes: the limit is for what comes out, and is kept while it comes out.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import requests
from urllib3.exceptions import HTTPError

from orders_pipeline.http.bounds import Bounds, TooLarge, bounded
from orders_pipeline.http.hosts import host_to_name, proxies_for

_CHUNK_BYTES = 64 * 1024
_PIECE_BYTES = 256 * 1024
_GZIP = 16 + zlib.MAX_WBITS


class NoReply(Exception):
    """No answer, or none that ended in time: whether the request had its effect is not known. Holds no request."""


class BadBody(Exception):
    """What came cannot be taken for the JSON that was asked for; the text says why and repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer whose status and headers came. `problem` says why its body was not taken, if it was not."""

    status: int
    headers: Mapping[str, str]
    content: bytes = field(default=b"", repr=False)
    problem: str | None = None

    @property
    def redirect(self) -> str | None:
        """Where a 3xx points to, as far as it may be told: its host."""
        if not 300 <= self.status < 400:
            return None
        return host_to_name(self.headers.get("Location", "")) or "the same host"

    def json(self) -> Any:
        """The body. Raises BadBody."""
        if self.problem is not None:
            raise BadBody(self.problem)
        try:
            # NaN and Infinity are no JSON; one of them in one field makes that field empty, not the answer unreadable.
            return json.loads(self.content, parse_constant=_no_value)
        except RecursionError:
            raise BadBody("its JSON is nested too deep") from None
        except ValueError:
            # `from None`: the error holds the document. Also a number of more digits than Python reads.
            raise BadBody("it is not JSON" if self.content else "it is empty") from None


def exchange(
    session: requests.Session,
    method: str,
    url: str,
    *,
    timeouts: tuple[float, float],
    total_seconds: float,
    largest_bytes: int,
    query: Mapping[str, str] | None = None,
    json_body: Mapping[str, Any] | None = None,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Send one request. `timeouts`: to connect, and for each read. Raises NoReply and nothing else."""
    bounds = Bounds(total_seconds, largest_bytes)
    try:
        with (
            bounded(bounds),
            closing(
                session.request(
                    method,
                    url,
                    params=dict(query) if query is not None else None,
                    json=dict(json_body) if json_body is not None else None,
                    data=dict(form) if form is not None else None,
                    headers=dict(headers) if headers is not None else None,
                    timeout=timeouts,
                    allow_redirects=False,
                    stream=True,
                    proxies=proxies_for(url),
                )
            ) as response,
        ):
            return _reply(response, largest_bytes)
    except TooLarge:
        raise NoReply("its headers are too large") from None
    except (requests.RequestException, HTTPError, OSError) as error:
        # The exception holds the request, with its token and perhaps an address: only its name goes on.
        late = f"it was not whole within {total_seconds:g} s"
        raise NoReply(late if bounds.remaining <= 0 else type(error).__name__) from None


def _reply(response: requests.Response, largest_bytes: int) -> Reply:
    status, headers = response.status_code, response.headers
    too_large = f"it is larger than {largest_bytes:,} bytes"
    announced = headers.get("Content-Length", "")
    if announced.isdecimal() and (len(announced) > 18 or int(announced) > largest_bytes):
        return Reply(status, headers, problem=too_large)
    encoding = headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        return Reply(status, headers, problem="its content encoding is not one that was asked for")
    received: Iterable[bytes] = response.raw.stream(_CHUNK_BYTES, decode_content=False)
    try:
        content = _collected(unzipped(received) if "gzip" in encoding else received, largest_bytes)
    except TooLarge:
        return Reply(status, headers, problem=too_large)
    except zlib.error:
        return Reply(status, headers, problem="its gzip cannot be read")
    return Reply(status, headers, content)


def _collected(parts: Iterable[bytes], largest_bytes: int) -> bytes:
    content = bytearray()
    for part in parts:
        content += part
        if len(content) > largest_bytes:
            raise TooLarge
    return bytes(content)


def unzipped(received: Iterable[bytes]) -> Iterator[bytes]:
    """What the gzip holds, in pieces of a bounded size. Raises zlib.error, also if it is cut off."""
    member = zlib.decompressobj(_GZIP)
    begun = False
    for chunk in received:
        rest, full = chunk, False
        while rest or full:
            if member.eof:
                member = zlib.decompressobj(_GZIP)
            begun = True
            piece = member.decompress(rest, _PIECE_BYTES)
            yield piece
            # A full piece may have more behind it although all input is taken.
            full = len(piece) == _PIECE_BYTES and not member.eof
            rest = member.unused_data if member.eof else member.unconsumed_tail
    if begun and not member.eof:
        raise zlib.error


def _no_value(_: str) -> None:
    return None
