"""What is told of an account that is taken out of the settings."""

from __future__ import annotations

from orders_pipeline.alerts.kinds import AlertKind, Found
from orders_pipeline.alerts.reconcile import reconcile
from orders_pipeline.operations.alerts import evaluate_alerts
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World


def test_its_alerts_end_with_it_and_those_of_one_that_is_only_wrong_stay(world: World):
    kind = AlertKind("some.kind", "error", None, "Message.", "Action.", "Alerts")
    for account_id in ("FORMER", "WRONG"):
        with world.database.transaction(account_id) as tx:
            reconcile(tx, kind, [Found("subject")])
    evaluate_alerts(world.database, [SELLER], [], [], not_served={"WRONG": ["a variable"]}, budget_seconds=60)
    still_open = world.rows("pipeline.alerts", "account_id, key", where="closed_at is null and key like 'some.kind%'")
    assert [row.account_id for row in still_open] == ["WRONG"]
