"""A mail server on this machine, over SMTP: it keeps what it is sent."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from collections.abc import Generator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from orders_pipeline.alert_settings import Mailbox, SmtpTls
from orders_pipeline_tests.free_port import free_port

USER, PASSWORD = "alerts", "the-mail-password"
SENDER, RECIPIENTS = "alerts@shop.example", ("night@shop.example", "day@shop.example")


class MailServer:
    """What it was sent, as a reader shows it. `answer`: instead of taking a message, say this (`451 Busy`)."""

    def __init__(self, port: int, tls: SmtpTls) -> None:
        self.port = port
        self.tls: SmtpTls = tls
        self.mails: list[EmailMessage] = []
        self.envelopes: list[tuple[str, list[str]]] = []
        self.answer: str | None = None
        self.refuses: str | None = None
        self.refused_recipients: set[str] = set()
        self.was_encrypted: list[bool] = []

    @classmethod
    @contextmanager
    def listening(
        cls, *, tls: SmtpTls = "none", certificate: Path | None = None, login: bool = False
    ) -> Generator[MailServer]:
        """A server until the block ends. With `certificate`, which has its key too, it speaks `tls`."""
        server = cls(free_port(), tls)
        context = None
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
        more: dict[str, Any] = {}
        if tls == "starttls" and context is not None:
            more = {"tls_context": context, "require_starttls": True}
        if login:
            more |= {"authenticator": _authenticate, "auth_required": True, "auth_require_tls": tls == "starttls"}
        controller = Controller(
            server, hostname="127.0.0.1", port=server.port, ssl_context=context if tls == "tls" else None,
            server_hostname="mail.test", **more,
        )  # fmt: skip
        controller.start()
        try:
            yield server
        finally:
            controller.stop()

    @property
    def told(self) -> list[str]:
        """The text of each mail, its subject first."""
        return [f"{mail['Subject']}\n{mail.get_content()}".replace("\r\n", "\n") for mail in self.mails]

    def mailbox(self, *, host: str = "127.0.0.1", login: bool = False, password: str = PASSWORD) -> Mailbox:
        secret = SecretStr(password) if login else None
        return Mailbox(host, self.port, self.tls, USER if login else None, secret, SENDER, RECIPIENTS)

    # What aiosmtpd calls.

    async def handle_RCPT(  # noqa: N802
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if address in self.refused_recipients:
            return "550 No such person"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        if self.answer is not None:
            return self.answer
        if self.refuses is not None and self.refuses in mail.get_content():
            return "554 The text is refused"
        self.mails.append(mail)
        self.envelopes.append((envelope.mail_from, list(envelope.rcpt_tos)))
        self.was_encrypted.append(server.transport.get_extra_info("ssl_object") is not None)
        return "250 OK"


def make_certificate(folder: Path, *, host: str = "127.0.0.1") -> Path:
    """A certificate of its own for this host, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.test")])
    is_address = host.replace(".", "").isdecimal()
    shown = x509.IPAddress(ipaddress.ip_address(host)) if is_address else x509.DNSName(host)
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([shown]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{host}.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return file


def _authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
    is_right = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=is_right, handled=False)
