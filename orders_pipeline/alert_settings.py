"""The settings of alerts: where they go, what they link to, and whom to tell that all is well.

What goes where, and when, is in the file that ORDERS_ALERTS_FILE names (operations/alerting/rules_file.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from orders_pipeline.http.hosts import is_loopback
from orders_pipeline.settings_group import BaseUrl, File, Group, Parts, SecretUrl

SmtpTls = Literal["starttls", "tls", "none"]
# RFC 8314 and RFC 6409; without TLS a relay of this machine.
_PORTS: Mapping[str, int] = {"starttls": 587, "tls": 465, "none": 25}
_HOST = re.compile(r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)(?::(?P<port>[0-9]{1,5}))?")
_ADDRESS = re.compile(r"[^@\s<>,;:\"()\[\]\\]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """How emails are handed over: to which server, in whose name, and to whom."""

    host: str
    port: int
    tls: SmtpTls
    user: str | None
    password: SecretStr | None
    sender: str
    recipients: tuple[str, ...]


def _host(given: str) -> str:
    found = _HOST.fullmatch(given.strip())
    if found is None or int(found["port"] or 1) not in range(1, 65_536):
        raise ValueError("is no host: write smtp.shop.example or smtp.shop.example:587")
    return given.strip()


def _address(given: str) -> str:
    # Without the address: a typing error may be somebody's.
    if not _ADDRESS.fullmatch(given.strip()):
        raise ValueError("has something that is no email address: write alerts@shop.example")
    return given.strip()


def _addresses(given: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_address(one) for one in given)


class AlertSettings(Group):
    """Where alerts go beside Dagster and the log. Nothing is required."""

    slack_webhook_url: SecretUrl | None = Field(default=None, validation_alias="SLACK_WEBHOOK_URL")
    smtp_host: Annotated[str, AfterValidator(_host)] | None = Field(default=None, validation_alias="ORDERS_SMTP_HOST")
    smtp_tls: Annotated[SmtpTls, BeforeValidator(lambda given: str(given).lower())] = Field(
        default="starttls", validation_alias="ORDERS_SMTP_TLS"
    )
    smtp_user: str | None = Field(default=None, validation_alias="ORDERS_SMTP_USER")
    smtp_password: SecretStr | None = Field(default=None, validation_alias="ORDERS_SMTP_PASSWORD")
    sender: Annotated[str, AfterValidator(_address)] | None = Field(default=None, validation_alias="ORDERS_ALERTS_FROM")
    recipients: Annotated[Parts, AfterValidator(_addresses)] = Field(default=(), validation_alias="ORDERS_ALERTS_TO")
    rules_file: File | None = Field(default=None, validation_alias="ORDERS_ALERTS_FILE")
    # Of the web port as people reach it, and of the runbook; without them a message names both and links to neither.
    ui_url: BaseUrl | None = Field(default=None, validation_alias="ORDERS_UI_URL")
    runbook_url: BaseUrl | None = Field(default=None, validation_alias="ORDERS_RUNBOOK_URL")
    # Who knows it can keep the watch quiet.
    heartbeat_url: SecretUrl | None = Field(default=None, validation_alias="ORDERS_HEARTBEAT_URL")

    @property
    def mailbox(self) -> Mailbox | None:
        """None where no email is sent."""
        if self.smtp_host is None or self.sender is None or not self.recipients:
            return None
        host, _, port = self.smtp_host.partition(":")
        return Mailbox(
            host=host,
            port=int(port or _PORTS[self.smtp_tls]),
            tls=self.smtp_tls,
            user=self.smtp_user,
            password=self.smtp_password,
            sender=self.sender,
            recipients=self.recipients,
        )


def read_alerts(values: Mapping[str, str], problems: list[str]) -> AlertSettings:
    """The settings of alerts; what is wrong with them is appended to `problems`, and no email is sent then."""
    before = len(problems)
    read = AlertSettings.read_what_is_right(values, problems)
    problems += _problems_of_email(read) if len(problems) == before else []
    return read if len(problems) == before else read.model_copy(update={"smtp_host": None})


def _problems_of_email(read: AlertSettings) -> list[str]:
    needed: Mapping[str, Any] = {
        "ORDERS_SMTP_HOST": read.smtp_host,
        "ORDERS_ALERTS_FROM": read.sender,
        "ORDERS_ALERTS_TO": read.recipients,
    }
    missing = [name for name, value in needed.items() if not value]
    if len(missing) in (1, 2):
        there = [name for name in needed if name not in missing]
        return [f"{' and '.join(there)} alone send no email: set {' and '.join(missing)} too"]
    if (read.smtp_user is None) != (read.smtp_password is None):
        return ["ORDERS_SMTP_USER and ORDERS_SMTP_PASSWORD go together: set both, or neither"]
    if read.smtp_host is not None and read.smtp_tls == "none" and not is_loopback(f"//{read.smtp_host}"):
        return ["ORDERS_SMTP_TLS is none: only a relay on this machine is spoken to in clear; use starttls or tls"]
    return []
