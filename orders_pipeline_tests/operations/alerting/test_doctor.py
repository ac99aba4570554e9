"""The doctor says where alerts go, and what keeps them from going there."""

from __future__ import annotations

from pathlib import Path

from orders_pipeline.alerts.kinds import NOBODY, AlertKind, Found
from orders_pipeline.alerts.reconcile import reconcile
from orders_pipeline.database.engine import Database
from orders_pipeline.operations.deployment import Deployment
from orders_pipeline.operations.doctor import check_alerts
from orders_pipeline.settings import load_settings
from orders_pipeline_tests.operations.alerting.told import rules, settings_for, tell
from orders_pipeline_tests.slack import Slack


def test_the_doctor_says_where_alerts_go_and_what_is_wrong(
    database: Database, database_url: str, slack: Slack, tmp_path: Path
):
    def found(**settings: str) -> tuple[bool, str]:
        values = {"ORDERS_DATABASE_URL": database_url, "ORDERS_DATA_DIR": str(tmp_path), **settings}
        deployment = Deployment(load_settings(values))
        result = check_alerts(deployment)
        deployment.database.close()
        return result.ok, f"{result.detail} {result.what_to_do or ''}"

    hook = {"SLACK_WEBHOOK_URL": slack.url.get_secret_value()}
    ok, told = found()
    assert ok
    assert "set SLACK_WEBHOOK_URL or ORDERS_SMTP_HOST" in told
    ok, told = found(**hook)
    assert ok
    assert told.startswith("beside Dagster and the log: Slack")
    ok, told = found(**hook, ORDERS_ALERTS_FILE=str(rules(tmp_path, "digest: soon")))
    assert not ok
    assert "line 1: digest must be" in told
    with database.transaction(NOBODY) as tx:
        reconcile(tx, AlertKind("order.late", "error", None, "Late.", "Ship.", "Push"), [Found("1")])
    slack.status = 404
    tell(database, settings_for(slack))
    ok, told = found(**hook)
    assert not ok
    assert "Slack answered 404" in told
    assert "the-secret" not in told
