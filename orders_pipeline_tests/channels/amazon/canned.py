"""Amazon's answers, laid ready: an adapter under the client's session, so that nothing is sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
from requests.adapters import BaseAdapter
from urllib3 import HTTPResponse

LOGIN_PATH = "/auth/o2/token"


@dataclass
class Canned:
    """One answer; `error` is raised instead where it is set."""

    status: int = 200
    body: Any = None
    text: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    error: Exception | None = None


@dataclass
class Asked:
    """One request as it was sent."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: Any
    timeout: Any


class CannedAmazon(BaseAdapter):
    """Answers in the order laid ready; when that runs out, the last answer again. Tokens are always given."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        super().__init__()
        self.asked: list[Asked] = []
        self.logins: list[dict[str, str]] = []
        self.answers: list[Canned] = []
        self.login_answers: list[Canned] = []
        self.life_seconds = 3600
        self._now = now
        self._given = 0

    def lay(self, *answers: Canned) -> None:
        self.answers.extend(answers)

    def send(self, request: requests.PreparedRequest, **settings: Any) -> requests.Response:  # type: ignore[override]
        parts = urlsplit(request.url or "")
        raw = request.body or b""
        text = raw.decode() if isinstance(raw, bytes) else raw
        if parts.path == LOGIN_PATH:
            self.logins.append(dict(parse_qsl(text)))
            self._given += 1
            token = {"access_token": f"Atza|canned-{self._given}", "expires_in": self.life_seconds}
            return self._response(request, _next(self.login_answers) or Canned(body=token))
        self.asked.append(
            Asked(
                method=request.method or "",
                path=parts.path,
                query=dict(parse_qsl(parts.query, keep_blank_values=True)),
                headers=dict(request.headers),
                body=json.loads(text) if text else None,
                timeout=settings.get("timeout"),
            )
        )
        answer = _next(self.answers)
        assert answer is not None, f"no answer is laid ready for {request.method} {parts.path}"
        return self._response(request, answer)

    def close(self) -> None:
        return None

    def _response(self, request: requests.PreparedRequest, answer: Canned) -> requests.Response:
        if answer.error is not None:
            raise answer.error
        content = answer.text if answer.text is not None else "" if answer.body is None else json.dumps(answer.body)
        response = requests.Response()
        response.status_code = answer.status
        response.headers.update(
            {"Date": format_datetime(self._now(), usegmt=True), "x-amzn-RequestId": "req-canned", **answer.headers}
        )
        response.raw = HTTPResponse(body=BytesIO(content.encode()), preload_content=False)
        response.url = request.url or ""
        response.request = request
        return response


def errors(code: str, message: str = "", details: str = "") -> dict[str, Any]:
    return {"errors": [{"code": code, "message": message, "details": details}]}


def _next(answers: list[Canned]) -> Canned | None:
    if not answers:
        return None
    return answers.pop(0) if len(answers) > 1 else answers[0]
