"""Telling people in tests: the settings that lead to servers of the test's own, and time that passes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import text

from orders_pipeline.alert_settings import AlertSettings
from orders_pipeline.alerts.kinds import AlertKind, Found, Severity
from orders_pipeline.alerts.reconcile import reconcile
from orders_pipeline.database.engine import AnyRow, Database
from orders_pipeline.operations.alerting.deliver import DeliveryOutcome, tell_people
from orders_pipeline.operations.alerts import ALERTS
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.mail_server import RECIPIENTS, SENDER, MailServer
from orders_pipeline_tests.slack import Slack

UI, RUNBOOK = "https://orders.shop.example", "https://docs.shop.example/runbook.md"
REFUSED = AlertKind(
    "order.refused", "error", None, "The warehouse does not take order {order_id}: {code}.", "Correct it.", "Push",
    board_filter="needs=tracking",
)  # fmt: skip
PAUSED = AlertKind(
    "dependency.paused", "error", None, "{name} has refused everything.", "Mend it.", "Work that waits", is_cause=True
)
LATE = AlertKind("order.late", "error", None, "Order {order_id} is late.", "Ship it.", "Push")
# Every stored time by which it is decided what is told when.
_TIMES = {
    "pipeline.alerts": ("opened_at", "delivered_at", "closed_at"),
    # When a cause opened names its thread: it stays.
    "pipeline.alert_deliveries": ("absent_since", "told_at"),
    "pipeline.alert_channels": ("leased_until", "next_try_at", "failing_since"),
}


def settings_for(slack: Slack | None = None, mail: MailServer | None = None, **more: Any) -> AlertSettings:
    email = {} if mail is None else {
        "smtp_host": f"127.0.0.1:{mail.port}", "smtp_tls": mail.tls, "sender": SENDER, "recipients": RECIPIENTS,
    }  # fmt: skip
    hook = None if slack is None else slack.url
    return AlertSettings(slack_webhook_url=hook, ui_url=UI, runbook_url=RUNBOOK, **email, **more)


def tell(database: Database, settings: AlertSettings, *kinds: AlertKind, **more: Any) -> DeliveryOutcome:
    return tell_people(database, settings, (*ALERTS, *kinds), **{"all_is_well": True, **more})  # type: ignore[arg-type]


def pass_time(database: Database, interval: str) -> None:
    """So much time goes by."""
    with database.begin() as connection:
        for table, columns in _TIMES.items():
            sets = ", ".join(f"{column} = {column} - cast(:interval as interval)" for column in columns)
            connection.execute(text(f"update {table} set {sets}"), {"interval": interval})


def rows(database: Database, table: str, order: str = "1, 2") -> Sequence[AnyRow]:
    with database.begin() as connection:
        return list(connection.execute(text(f"select * from pipeline.{table} order by {order}")))


def rules(folder: Path, content: str) -> Path:
    file = folder / "alerts.yaml"
    file.write_text(content)
    return file


def refuse(database: Database, *orders: str, severity: Severity | None = None, code: str = "unknown_sku") -> None:
    """These orders are refused, and no others."""
    found = [Found(order, {"order_id": order, "code": code}, severity) for order in orders]
    with database.transaction(SELLER) as tx:
        reconcile(tx, REFUSED, found)
