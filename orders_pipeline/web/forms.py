"""The fields of a form that was POSTed, read whole and bounded."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.requests import Request

FORM_BYTES = 4096
_FIELDS_AT_MOST = 20


async def read_fields(request: Request) -> dict[str, list[str]] | None:
    """Each field's values; None for what is too long, or is no form. A form without a field is one."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES:
            return None
    if not body:
        return {}
    try:
        return parse_qs(body.decode("ascii"), strict_parsing=True, max_num_fields=_FIELDS_AT_MOST)
    except ValueError:
        return None
