"""Messages to a Slack webhook.

slack-sdk makes the request and reads the answer's meaning. Its own transport (urllib) follows redirects, reads an
answer of any size, gives each read the whole time-out, and takes `http_proxy` for loopback: ours takes its place. Its
retry handlers are left out: they sleep in the call for as long as the other side's Retry-After says. What was not
taken is sent again from the store.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal
from urllib.request import Request

from pydantic import SecretStr
from slack_sdk.webhook import WebhookClient, WebhookResponse

from orders_pipeline.http.replies import NoReply, exchange
from orders_pipeline.http.sessions import open_session
from orders_pipeline.operations.alerting.channel import ChannelFailed, TextRefused
from orders_pipeline.operations.alerting.words import Link, Message

# Slack answers "ok".
LARGEST_ANSWER_BYTES = 64 * 1024
# https://docs.slack.dev/reference/block-kit/blocks: 150 characters of a header, 3,000 of a section.
LONGEST_SECTION = 2_900
# A webhook that is gone or forbidden answers otherwise (403, 404, 410).
_REFUSES_THE_TEXT = (400, 413, 422)
# A Retry-After that cannot be read.
_SOME_SECONDS = timedelta(seconds=60)

# The library writes bodies at DEBUG, and its errors are told by us.
_silent = logging.getLogger(f"{__name__}.slack_sdk")
_silent.setLevel(logging.CRITICAL + 1)


class SlackChannel:
    """One webhook."""

    name: Literal["slack"] = "slack"

    def __init__(self, url: SecretStr) -> None:
        self._url = url

    def send(self, message: Message, *, seconds: float) -> None:
        """Post it. Raises ChannelFailed, TextRefused."""
        client = _Webhook(self._url.get_secret_value(), seconds)
        try:
            answered = client.send_dict(_body(message))
        except NoReply as error:
            raise ChannelFailed(f"Slack could not be reached ({error})") from None
        status = answered.status_code
        if 200 <= status < 300:
            return
        if status in _REFUSES_THE_TEXT:
            raise TextRefused(f"Slack answered {status}")
        if client.redirect is not None:
            raise ChannelFailed(
                f"Slack answered {status}, a redirect to {client.redirect}, which is not followed: check "
                "SLACK_WEBHOOK_URL"
            )
        if status == 429:
            raise ChannelFailed("Slack takes no more messages for now (429)", _retry_after(answered.headers))
        raise ChannelFailed(f"Slack answered {status}: check SLACK_WEBHOOK_URL")


class _Webhook(WebhookClient):
    """slack-sdk's client with a transport that has bounds. `redirect`: the host that an answer sent us to."""

    def __init__(self, url: str, seconds: float) -> None:
        super().__init__(url, logger=_silent, retry_handlers=[])
        self._seconds = seconds
        self.redirect: str | None = None

    def _perform_http_request_internal(self, url: str, req: Request) -> WebhookResponse:
        with open_session() as session:
            reply = exchange(
                session,
                "POST",
                url,
                json_body=json.loads(req.data) if isinstance(req.data, bytes) else {},
                timeouts=(self._seconds, self._seconds),
                total_seconds=self._seconds,
                largest_bytes=LARGEST_ANSWER_BYTES,
                headers={"User-Agent": self.default_headers["User-Agent"]},
            )
        self.redirect = reply.redirect
        body = reply.content.decode("utf-8", errors="replace")
        return WebhookResponse(url=url, status_code=reply.status, body=body, headers=dict(reply.headers))


def _body(message: Message) -> dict[str, Any]:
    """Text that Slack shows and nothing else: it calls nobody and formats nothing; only links of ours are links.

    Parts of it were written by a warehouse or by Amazon. `<`, `>` and `&` are Slack's own markup.
    """
    text = _plain(message.text)
    blocks: list[dict[str, Any]] = [
        {"type": "section", "text": {"type": "plain_text", "text": text[:LONGEST_SECTION], "emoji": False}}
    ]
    if message.links:
        links = " · ".join(_link(link) for link in message.links)
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": links, "verbatim": True}]})
    return {
        # What a notification shows, where no blocks are.
        "text": _plain(message.title)[:LONGEST_SECTION],
        "blocks": blocks,
        "mrkdwn": False,
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _plain(text: str) -> str:
    return _escape(text).replace("://", "[:]//")


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _link(link: Link) -> str:
    # The URL is of our settings and quoted; a bar or a bracket would end it.
    return _plain(link.words) if link.url is None else f"<{_escape(link.url).replace('|', '%7C')}|{_plain(link.words)}>"


def _retry_after(headers: Mapping[str, Any] | Sequence[Any]) -> timedelta:
    """Seconds, as Slack gives them; anything else is some time."""
    given = {str(name).lower(): str(value) for name, value in dict(headers).items()}.get("retry-after", "")
    return timedelta(seconds=int(given)) if given.isdecimal() and len(given) < 7 else _SOME_SECONDS
