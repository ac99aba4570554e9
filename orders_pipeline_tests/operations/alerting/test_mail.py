"""One message by email: to a real SMTP server, encrypted and to a server that is who it says."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from orders_pipeline.alert_settings import SmtpTls
from orders_pipeline.operations.alerting.channel import ChannelFailed, TextRefused
from orders_pipeline.operations.alerting.mail import MailChannel
from orders_pipeline.operations.alerting.words import Link, Message
from orders_pipeline_tests.mail_server import RECIPIENTS, SENDER, MailServer, make_certificate

MESSAGE = Message(
    "[error] Größe and 寸 broke.",
    ("What to do: Mend it.",),
    (Link("Order board", "https://shop.example/board?order=111-1"), Link("Runbook")),
    thread="abc",
    number=0,
)


def send(server: MailServer, message: Message = MESSAGE, *, seconds: float = 5.0, **mailbox: object) -> None:
    MailChannel(server.mailbox(**mailbox)).send(message, seconds=seconds)  # type: ignore[arg-type]


def test_a_message_has_its_words_and_its_links(mail: MailServer):
    send(mail)
    assert mail.told == [
        (
            "[error] Größe and 寸 broke.\n[error] Größe and 寸 broke.\n\nWhat to do: Mend it.\n\n"
            "Order board: https://shop.example/board?order=111-1\nRunbook\n"
        )
    ]
    assert mail.envelopes == [(SENDER, list(RECIPIENTS))]
    assert mail.mails[0]["Auto-Submitted"] == "auto-generated"


def test_one_cause_is_one_thread(mail: MailServer):
    for number in (0, 1):
        send(mail, Message("[error] It broke.", thread="abc", number=number))
    first, second = mail.mails
    assert second["In-Reply-To"] == first["Message-ID"] == "<abc.0@shop.example>"
    assert second["Message-ID"] == "<abc.1@shop.example>"


def test_a_text_cannot_become_a_header(mail: MailServer):
    send(mail, Message("[error] It\r\nBcc: someone@evil.example\r\n\r\nbroke " + "x" * 900))
    (sent,) = mail.mails
    assert sent["Bcc"] is None
    assert mail.envelopes == [(SENDER, list(RECIPIENTS))]
    assert len(sent["Subject"]) <= 200


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_it_is_encrypted_and_logged_in(tls: SmtpTls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    certificate = make_certificate(tmp_path)
    with MailServer.listening(tls=tls, certificate=certificate, login=tls == "starttls") as server:
        with pytest.raises(ChannelFailed, match="certificate that cannot be trusted"):
            send(server, login=tls == "starttls")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        send(server, login=tls == "starttls")
        if tls == "starttls":
            with pytest.raises(ChannelFailed, match="refused the login") as refused:
                send(server, login=True, password="another-password")
            assert "another-password" not in str(refused.value)
    assert server.was_encrypted == [True]


def test_a_certificate_of_another_host_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    certificate = make_certificate(tmp_path, host="mail.shop.example")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with (
        MailServer.listening(tls="starttls", certificate=certificate) as server,
        pytest.raises(ChannelFailed, match="certificate that cannot be trusted"),
    ):
        send(server)
    assert server.mails == []


def test_nothing_is_sent_in_clear_to_a_server_without_starttls(mail: MailServer):
    mail.tls = "starttls"
    with pytest.raises(ChannelFailed, match="offers no STARTTLS"):
        send(mail, login=True)
    assert mail.mails == []


@pytest.mark.parametrize(
    ("answer", "error"),
    [("451 Busy", ChannelFailed), ("421 Leaving", ChannelFailed), ("550 Spam", TextRefused), ("554 No", TextRefused)],
)
def test_what_a_server_answers_to_a_text(mail: MailServer, answer: str, error: type[Exception]):
    mail.answer = answer
    with pytest.raises(error, match=answer[:3]):
        send(mail)


def test_recipients_that_are_refused_stop_no_other(mail: MailServer):
    mail.refused_recipients = {RECIPIENTS[0]}
    send(mail)
    assert mail.envelopes == [(SENDER, [RECIPIENTS[1]])]
    mail.refused_recipients = set(RECIPIENTS)
    with pytest.raises(ChannelFailed, match="none of ORDERS_ALERTS_TO"):
        send(mail)


@contextmanager
def _speaking_first(start: bytes, drop: bytes) -> Generator[int]:
    """A server that says `start`, and then a drop now and then, whatever it is told; its port."""
    over = threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    def speak() -> None:
        with suppress(OSError):
            connection, _ = listening.accept()
            with connection:
                connection.sendall(start)
                while not over.wait(0.02):
                    connection.sendall(drop)

    speaker = threading.Thread(target=speak)
    speaker.start()
    try:
        yield int(listening.getsockname()[1])
    finally:
        over.set()
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        speaker.join()


@pytest.mark.parametrize("start", [b"", b"220 hello\r\n", b"220-hello\r\n"])
@pytest.mark.parametrize("drop", [b"2", b"220-more\r\n"])
def test_a_server_that_answers_without_end_is_cut_off(start: bytes, drop: bytes):
    with _speaking_first(start, drop) as port:
        begun = time.monotonic()
        with pytest.raises(ChannelFailed, match="not done within"):
            send(MailServer(port, "none"), seconds=0.4)
        assert time.monotonic() - begun < 3


def test_a_server_that_is_away():
    with pytest.raises(ChannelFailed, match="could not be reached"):
        send(MailServer(9, "none"))
