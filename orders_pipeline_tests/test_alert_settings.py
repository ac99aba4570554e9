"""The settings of alerts: what is sent to whom is whole, or nothing is sent, and nothing goes in clear."""

from __future__ import annotations

from pathlib import Path

import pytest

from orders_pipeline.settings import load_settings

EMAIL = {
    "ORDERS_SMTP_HOST": "smtp.shop.example", "ORDERS_ALERTS_FROM": "alerts@shop.example",
    "ORDERS_ALERTS_TO": "night@shop.example, day@shop.example",
}  # fmt: skip


def _problems(values: dict[str, str]) -> str:
    return "; ".join(one for one in load_settings(values).problems if not one.startswith("missing"))


@pytest.mark.parametrize(
    ("more", "host", "port", "tls"),
    [
        ({}, "smtp.shop.example", 587, "starttls"),
        ({"ORDERS_SMTP_TLS": "TLS"}, "smtp.shop.example", 465, "tls"),
        ({"ORDERS_SMTP_HOST": "smtp.shop.example:2525"}, "smtp.shop.example", 2525, "starttls"),
        ({"ORDERS_SMTP_HOST": "127.0.0.1", "ORDERS_SMTP_TLS": "none"}, "127.0.0.1", 25, "none"),
        ({"ORDERS_SMTP_HOST": "localhost:25", "ORDERS_SMTP_TLS": "none"}, "localhost", 25, "none"),
    ],
)
def test_where_emails_are_handed_over(more: dict[str, str], host: str, port: int, tls: str):
    mailbox = load_settings({**EMAIL, **more}).alerts.mailbox
    assert mailbox is not None
    assert (mailbox.host, mailbox.port, mailbox.tls) == (host, port, tls)
    assert mailbox.recipients == ("night@shop.example", "day@shop.example")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"ORDERS_ALERTS_TO": ""}, "ORDERS_SMTP_HOST and ORDERS_ALERTS_FROM alone send no email: set"),
        ({"ORDERS_SMTP_HOST": ""}, "set ORDERS_SMTP_HOST too"),
        ({"ORDERS_SMTP_TLS": "none"}, "ORDERS_SMTP_TLS is none: only a relay on this machine is spoken to in clear"),
        ({"ORDERS_SMTP_TLS": "ssl"}, "ORDERS_SMTP_TLS is 'ssl': use starttls, tls or none"),
        ({"ORDERS_SMTP_USER": "alerts"}, "ORDERS_SMTP_USER and ORDERS_SMTP_PASSWORD go together"),
        ({"ORDERS_SMTP_HOST": "smtp://user:secret@smtp.shop.example"}, "ORDERS_SMTP_HOST is no host"),
        ({"ORDERS_SMTP_HOST": "smtp.shop.example:0"}, "ORDERS_SMTP_HOST is no host"),
        ({"ORDERS_ALERTS_TO": "night@shop.example, secret"}, "ORDERS_ALERTS_TO has something that is no email address"),
        ({"ORDERS_ALERTS_FROM": "a@b.example\nBcc: secret@c.example"}, "ORDERS_ALERTS_FROM has something that is no"),
    ],
)  # fmt: skip
def test_what_is_not_whole_sends_no_email_and_says_why(more: dict[str, str], told: str):
    settings = load_settings({**EMAIL, **more})
    assert settings.alerts.mailbox is None
    assert told in _problems({**EMAIL, **more})
    assert "secret" not in _problems({**EMAIL, **more})


@pytest.mark.parametrize("name", ["SLACK_WEBHOOK_URL", "ORDERS_HEARTBEAT_URL", "ORDERS_UI_URL", "ORDERS_RUNBOOK_URL"])
def test_urls_are_https_or_of_this_machine(name: str):
    assert f"{name} must be https" in _problems({name: "http://elsewhere.example/x"})
    assert _problems({name: "http://127.0.0.1:1/x"}) == _problems({name: "https://elsewhere.example/x"}) == ""


def test_secrets_may_be_in_files(tmp_path: Path):
    files = {"ORDERS_SMTP_PASSWORD": "the-password", "ORDERS_HEARTBEAT_URL": "https://watch.example/the-secret"}
    values = {**EMAIL, "ORDERS_SMTP_USER": "alerts"}
    for name, value in files.items():
        (tmp_path / name).write_text(value)
        (tmp_path / name).chmod(0o600)
        values[f"{name}_FILE"] = str(tmp_path / name)
    settings = load_settings(values)
    assert settings.alerts.mailbox is not None
    assert settings.alerts.mailbox.password is not None
    assert settings.alerts.mailbox.password.get_secret_value() == "the-password"
    assert settings.alerts.heartbeat_url is not None
    assert "the-" not in repr(settings)
