"""Messages by email: SMTP with STARTTLS or TLS and a checked certificate; in clear to a relay of this machine alone."""

from __future__ import annotations

import logging
import os
import smtplib
import socket
import ssl
import threading
import time
from contextlib import suppress
from datetime import timedelta
from email.message import EmailMessage
from email.utils import format_datetime, localtime
from pathlib import Path
from typing import Any, Literal

from orders_pipeline.alert_settings import Mailbox
from orders_pipeline.model.untrusted_text import bounded_text
from orders_pipeline.operations.alerting.channel import ChannelFailed, TextRefused
from orders_pipeline.operations.alerting.words import Message

# RFC 5322 allows 998 characters in a line; a phone shows some sixty.
LONGEST_SUBJECT = 200
# A server that says 4xx is busy: greylisting lets a sender in after minutes.
_BUSY_WAIT = timedelta(minutes=2)

logger = logging.getLogger(__name__)


class MailChannel:
    """One server, one sender, some recipients."""

    name: Literal["email"] = "email"

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def send(self, message: Message, *, seconds: float) -> None:
        """Hand it to the server. Raises ChannelFailed, TextRefused."""
        mailbox = self._mailbox
        where = f"the mail server {mailbox.host}:{mailbox.port}"
        begun = time.monotonic()
        try:
            with _connect(mailbox, seconds) as server:
                if mailbox.tls == "starttls":
                    server.starttls(context=_context())
                if mailbox.user is not None and mailbox.password is not None:
                    server.login(mailbox.user, mailbox.password.get_secret_value())
                refused = server.send_message(_mail(message, mailbox), mailbox.sender, list(mailbox.recipients))
        except (smtplib.SMTPException, OSError, ValueError) as error:
            # `from None`: it may hold what was being said.
            if time.monotonic() - begun >= seconds:
                raise ChannelFailed(f"{where} was not done within {seconds:g} s") from None
            raise _failure(error, where) from None
        if refused:
            # The others have it: it is delivered.
            logger.warning("%s does not take mail for %d of ORDERS_ALERTS_TO.", where, len(refused))


def _failure(error: Exception, where: str) -> ChannelFailed | TextRefused:
    """What an error of smtplib's or of the connection's means, in words of ours."""
    match error:
        case smtplib.SMTPAuthenticationError():
            return ChannelFailed(
                f"{where} refused the login ({error.smtp_code}): check ORDERS_SMTP_USER and ORDERS_SMTP_PASSWORD"
            )
        case smtplib.SMTPNotSupportedError():
            return ChannelFailed(
                f"{where} offers no STARTTLS, or no login: check ORDERS_SMTP_TLS; nothing was sent in clear"
            )
        case smtplib.SMTPRecipientsRefused():
            codes = sorted({code for code, _ in error.recipients.values()})
            listed = ", ".join(map(str, codes))
            return ChannelFailed(f"{where} takes mail for none of ORDERS_ALERTS_TO ({listed})", _wait(codes[0]))
        case smtplib.SMTPDataError() if 500 <= error.smtp_code < 600:
            return TextRefused(f"{where} answered {error.smtp_code}")
        case smtplib.SMTPResponseException():
            return ChannelFailed(f"{where} answered {error.smtp_code}", _wait(error.smtp_code))
        case ssl.SSLCertVerificationError():
            return ChannelFailed(
                f"{where} has a certificate that cannot be trusted ({bounded_text(error.verify_message)}): check "
                "ORDERS_SMTP_HOST, or name your own authority in REQUESTS_CA_BUNDLE"
            )
        case _:
            return ChannelFailed(f"{where} could not be reached ({type(error).__name__})")


class _CutOff:
    """Ends the connection when the time is over: a server that sends a byte now and then outlives every time-out."""

    sock: socket.socket | None

    def __init__(self, *arguments: Any, seconds: float, **named: Any) -> None:
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._timer.start()
        try:
            super().__init__(*arguments, timeout=seconds, **named)  # type: ignore[call-arg]
        except BaseException:
            # Raised on as it came; only the timer goes.
            self._timer.cancel()
            raise

    def close(self) -> None:
        """Also what ends the timer."""
        self._timer.cancel()
        super().close()  # type: ignore[misc]

    def _cut(self) -> None:
        if self.sock is not None:
            with suppress(OSError):
                # Of the plain socket: SSLSocket.shutdown would let a write that is under way go on in clear.
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


class _Plain(_CutOff, smtplib.SMTP):
    pass


class _Tls(_CutOff, smtplib.SMTP_SSL):
    pass


def _connect(mailbox: Mailbox, seconds: float) -> smtplib.SMTP:
    if mailbox.tls == "tls":
        return _Tls(mailbox.host, mailbox.port, seconds=seconds, context=_context())
    return _Plain(mailbox.host, mailbox.port, seconds=seconds)


def _context() -> ssl.SSLContext:
    """As for https: TLS 1.2 at least, the host's name checked, and the authorities that requests would trust."""
    authorities = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    is_folder = authorities is not None and Path(authorities).is_dir()
    context = ssl.create_default_context(
        cafile=None if is_folder else authorities, capath=authorities if is_folder else None
    )
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _wait(code: int) -> timedelta | None:
    return _BUSY_WAIT if 400 <= code < 500 else None


def _mail(message: Message, mailbox: Mailbox) -> EmailMessage:
    """Plain text. One cause is one thread; a message that was sent twice has one id, by which a reader drops it."""
    mail = EmailMessage()
    mail["Subject"] = bounded_text(message.title, LONGEST_SUBJECT) or "Alert"
    mail["From"] = mailbox.sender
    mail["To"] = ", ".join(mailbox.recipients)
    mail["Date"] = format_datetime(localtime())
    domain = mailbox.sender.rpartition("@")[2]
    mail["Message-ID"] = f"<{message.thread}.{message.number}@{domain}>"
    if message.number:
        mail["In-Reply-To"] = mail["References"] = f"<{message.thread}.0@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    links = [f"{link.words}: {link.url}" if link.url else link.words for link in message.links]
    mail.set_content("\n".join((message.title, "", *message.lines, "", *links)) + "\n")
    return mail
