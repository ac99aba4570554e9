"""One message to a Slack webhook: what it shows, and what a webhook that is not Slack cannot do."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

import pytest
from pydantic import SecretStr

from orders_pipeline.audit.redaction import install
from orders_pipeline.operations.alerting.channel import ChannelFailed, TextRefused
from orders_pipeline.operations.alerting.slack import LARGEST_ANSWER_BYTES, SlackChannel
from orders_pipeline.operations.alerting.words import Link, Message
from orders_pipeline_tests.hostile_server import HostileServer, answer
from orders_pipeline_tests.slack import Slack

MESSAGE = Message(
    "[error] It broke.",
    ("What to do: Mend it.",),
    (Link("Order board", "https://shop.example/board?order=111-1"), Link('Runbook: docs/runbook.md, "Push"')),
)


def send(url: str | SecretStr, message: Message = MESSAGE, seconds: float = 5.0) -> None:
    SlackChannel(url if isinstance(url, SecretStr) else SecretStr(url)).send(message, seconds=seconds)


def test_a_message_has_its_words_and_its_links(slack: Slack):
    send(slack.url)
    assert slack.told == [
        (
            "[error] It broke.\nWhat to do: Mend it.\n"
            '<https://shop.example/board?order=111-1|Order board> · Runbook: docs/runbook.md, "Push"'
        )
    ]
    assert slack.bodies[0] | {"text": "", "blocks": []} == {
        "text": "", "blocks": [], "mrkdwn": False, "link_names": False, "unfurl_links": False, "unfurl_media": False,
    }  # fmt: skip


def test_what_others_wrote_is_neither_obeyed_nor_linked(slack: Slack):
    send(
        slack.url, Message("Carrier '<!channel> <http://evil.example|track> & co' https://evil.example/x" + "x" * 9_000)
    )
    (told,) = slack.told
    assert "&lt;!channel&gt; &lt;http" in told
    assert " &amp; co" in told
    assert not any(harm in told for harm in ("<", ">", "://"))
    assert len(told) < 3_000


@pytest.mark.parametrize(
    ("status", "headers", "wait"),
    [
        (429, {"Retry-After": "17"}, timedelta(seconds=17)),
        (429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, timedelta(seconds=60)),
        (429, {"Retry-After": "9" * 300}, timedelta(seconds=60)),
        (429, {}, timedelta(seconds=60)),
        (403, {}, None),
        (404, {}, None),
        (410, {}, None),
        (500, {}, None),
        (503, {}, None),
    ],
)
def test_a_webhook_that_takes_nothing_says_how_long_to_wait(
    slack: Slack, status: int, headers: dict[str, str], wait: timedelta | None
):
    slack.status, slack.headers = status, headers
    begun = time.monotonic()
    with pytest.raises(ChannelFailed, match=str(status)) as failed:
        send(slack.url)
    assert failed.value.wait == wait
    assert slack.asked == 1, "nothing is tried again within the call"
    assert time.monotonic() - begun < 2
    assert "the-secret" not in str(failed.value)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_text_that_is_refused_is_this_texts_fault(slack: Slack, status: int):
    slack.status = status
    with pytest.raises(TextRefused):
        send(slack.url)


def test_a_webhook_is_given_a_time_and_sends_nobody_elsewhere(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    # As every deployment does: at DEBUG urllib3 writes the path of each request.
    install()
    server: HostileServer
    with (
        caplog.at_level(logging.DEBUG),
        HostileServer.answering(answer(b"ok")) as other,
        HostileServer.answering(lambda _: server.drip(b"HTTP/1.1 200 OK\r\n", b"X")) as server,
    ):
        hook = f"{server.url}/services/the-secret"
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, other.url)
        with pytest.raises(ChannelFailed, match="not whole within"):
            send(hook, seconds=0.4)
        for status in ("301 Moved", "302 Found", "303 See Other", "307 Moved", "308 Moved"):
            server.answer = lambda _, status=status: [answer(b"", status, Location=f"{other.url}/services/the-secret")]
            with pytest.raises(ChannelFailed, match=r"a redirect to 127\.0\.0\.1") as refused:
                send(hook)
        assert other.requests == []
        server.answer = lambda _: [answer(b"x" * (LARGEST_ANSWER_BYTES + 1))]
        send(hook)
        server.answer = lambda _: server.drip(b"HTTP/1.1 200 OK\r\n", b"A: " + b"x" * 60_000 + b"\r\n", every=0.001)
        with pytest.raises(ChannelFailed):
            send(hook)
        with pytest.raises(ChannelFailed, match="could not be reached"):
            send("http://127.0.0.1:9/services/the-secret")
    assert "the-secret" not in f"{refused.value}{caplog.text}"
