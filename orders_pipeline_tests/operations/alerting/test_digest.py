"""The daily digest: once a day through each channel, whoever and how many send it."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import text

from orders_pipeline.alerts.kinds import AlertKind, Found
from orders_pipeline.alerts.reconcile import reconcile
from orders_pipeline.database.engine import Database
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.mail_server import MailServer
from orders_pipeline_tests.operations.alerting.told import pass_time, rules, settings_for, tell
from orders_pipeline_tests.slack import Slack
from orders_pipeline_tests.world import open_world


def due_an_hour_ago() -> str:
    """Rules with a digest that is due whenever the test runs, and always equally long."""
    at = datetime.now(UTC) - timedelta(hours=1)
    return f"digest: {{at: {at:%H:%M}}}\nkinds: {{order.late: {{channels: []}}, order.refused: {{channels: []}}}}"


def test_it_tells_what_is_open_what_changed_and_the_figures_of_the_day(
    database: Database, slack: Slack, tmp_path: Path
):
    world = open_world(database, tmp_path)
    shipped, late = world.accepted(), world.accepted()
    world.ship(shipped)
    world.confirm_and_verify()
    world.sql(
        "update pipeline.orders set ship_by = clock_timestamp() - interval '1 hour' where order_id = :id", id=late
    )
    kind = AlertKind("order.late", "error", None, "Order {order_id} is late.", "Ship it.", "Push")
    refused = AlertKind("order.refused", "warning", None, "{order_id}", "Mend it.", "Push")
    with database.transaction(SELLER) as tx:
        reconcile(tx, kind, [Found(late, {"order_id": late})])
        reconcile(tx, refused, [Found(n, {"order_id": n}) for n in ("1", "2")])
        reconcile(tx, refused, [])
    tell(database, settings_for(slack, rules_file=rules(tmp_path, due_an_hour_ago())))
    (told,) = slack.told
    day = datetime.now(UTC).date()
    assert told.splitlines() == [
        f"[digest] {day}: 1 error open",
        "Open: 1 error.",
        f"• [error] Order {late} is late.",
        "Opened in the last 24 hours: 2 order.refused, 1 order.late.",
        "Closed in the last 24 hours: 2 order.refused.",
        "Orders pushed: 2; packages confirmed: 1; late now: 1.",
        "<https://orders.shop.example/board|Order board>",
    ]
    assert "CANARY" not in told, "no buyer's data"


def test_it_comes_once_a_day_also_after_a_restart(database: Database, slack: Slack, tmp_path: Path):
    settings = settings_for(slack, rules_file=rules(tmp_path, due_an_hour_ago()))
    # It was due an hour ago, and is told now.
    for ago, expected in (("0", 1), ("0", 1), ("50 minutes", 1), ("20 minutes", 2), ("0", 2), ("3 days", 3)):
        pass_time(database, ago)
        tell(database, settings)
        assert len(slack.told) == expected


_TELL = """
import sys
from pathlib import Path
from orders_pipeline.database.engine import Database
from orders_pipeline.operations.alerts import ALERTS
from orders_pipeline.operations.alerting.deliver import tell_people
from orders_pipeline.settings import load_settings
settings = load_settings().alerts
database = Database(sys.argv[1])
database.now()
print("ready", flush=True)
sys.stdin.readline()
for _ in range(3):
    tell_people(database, settings, ALERTS, all_is_well=True)
"""


def test_two_processes_send_it_once(
    database: Database, database_url: str, slack: Slack, mail: MailServer, tmp_path: Path
):
    environment = {
        "SLACK_WEBHOOK_URL": slack.url.get_secret_value(), "ORDERS_SMTP_HOST": f"127.0.0.1:{mail.port}",
        "ORDERS_SMTP_TLS": "none", "ORDERS_ALERTS_FROM": "a@shop.example", "ORDERS_ALERTS_TO": "b@shop.example",
        "ORDERS_ALERTS_FILE": str(rules(tmp_path, due_an_hour_ago())), "ORDERS_ENV_FILE": "/dev/null",
    }  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _TELL, database_url], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        process.communicate(b"go\n", timeout=60)
        assert process.returncode == 0
    assert [told.splitlines()[0][:8] for told in (*slack.told, *mail.told)] == ["[digest]"] * 2
    with database.begin() as connection:
        assert connection.execute(text("select count(*) from pipeline.alert_deliveries")).scalar_one() == 2
