"""A red check is one open alert, until it is green."""

from __future__ import annotations

import pytest

from orders_pipeline.alerts.rows import open_alerts, take_unlogged_alerts
from orders_pipeline.database.engine import Database
from orders_pipeline.privacy.check_result import CheckResult, Severity, could_not_run
from orders_pipeline.privacy.checks.check_alerts import alert_on
from orders_pipeline.vault.errors import VaultKeyMissing
from orders_pipeline_tests.conftest import SELLER


def outcome(passed: bool, severity: Severity = "ERROR") -> CheckResult:
    return CheckResult(
        "every_record_opens", passed, severity, "2 do not authenticate.", "Find out who.", "DPP §2.4", {"refused": 2}
    )


@pytest.mark.parametrize(("severity", "shown"), [("ERROR", "error"), ("WARN", "warning")])
def test_red_opens_an_alert_red_again_leaves_it_and_green_closes_it(database: Database, severity: Severity, shown: str):
    def alerts() -> list[tuple[str, str, int]]:
        with database.transaction(SELLER) as tx:
            return [(alert.key, alert.severity, alert.times_seen) for alert in open_alerts(tx)]

    alert_on(database, outcome(passed=True), account_id=SELLER)
    assert alerts() == []
    alert_on(database, outcome(False, severity), account_id=SELLER)
    alert_on(database, outcome(passed=False, severity=severity), account_id=SELLER)
    assert alerts() == [("check:every_record_opens", shown, 1)]
    alert_on(database, outcome(passed=True), account_id=SELLER)
    assert alerts() == []
    alert_on(database, outcome(passed=False), account_id=SELLER)
    assert [times for _, _, times in alerts()] == [1], "red anew is an alert anew: somebody is told"


def test_what_could_not_be_looked_at_is_red_and_repeats_no_foreign_text():
    error = ValueError("12 Canary Street")
    looked = could_not_run("every_record_opens", error)
    assert not looked.passed
    assert "Canary" not in f"{looked}"
    ours = could_not_run("every_record_opens", VaultKeyMissing("Restore the key."))
    assert ours.text().endswith("Restore the key.")


def test_what_became_worse_is_told_again(database: Database):
    def told() -> list[str]:
        with database.begin() as connection:
            return [alert.severity for alert in take_unlogged_alerts(connection, limit=10)]

    steps: list[tuple[Severity, list[str]]] = [
        ("WARN", ["warning"]), ("WARN", []), ("ERROR", ["error"]), ("ERROR", []), ("WARN", []), ("ERROR", ["error"])
    ]  # fmt: skip
    for severity, expected in steps:
        alert_on(database, outcome(passed=False, severity=severity), account_id=SELLER)
        assert told() == expected
