"""What starts by the clock: conditions of the slow assets and checks, under two sensors that run from the first start.

A condition asks for its asset once after each of its times, and not while the asset is being made. What a condition
cannot know (which day the audit log's copies miss, whether an erasure is due) is a schedule beside its asset.

https://docs.dagster.io/guides/automate/declarative-automation
"""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from orders_pipeline.defs.guide import described_plainly


def on_clock(cron: str, words: str) -> dg.AutomationCondition:
    """True from each time of this cron (UTC) until the asset or check is asked for or made; `words` say when.

    `AutomationCondition.on_cron` would wait for every upstream asset to be made first; a quiet shop must be swept, and
    its buyers forgotten, in time all the same.
    """
    due = dg.AutomationCondition.cron_tick_passed(cron, "UTC").since_last_handled()
    return (due & ~dg.AutomationCondition.in_progress()).with_label(words)


def and_while_red(condition: dg.AutomationCondition, words: str) -> dg.AutomationCondition:
    """For a check: the condition, and every ten minutes while it is red and its asset was made since.

    Dagster shows no result from before the asset's newest materialization: without this the red of an asset that is
    made every few minutes would be seen for as long.
    """
    red = dg.AutomationCondition.check_failed().since(dg.AutomationCondition.check_passed())
    made = dg.AutomationCondition.any_deps_updated().since_last_handled()
    again = on_clock("*/10 * * * *", "every ten minutes") & red & made
    return (condition | again).with_label(words)


# Seventeen past, away from everybody's full hour.
SWEEPS = on_clock("17 * * * *", "hourly at 17 past")
REPORTS = on_clock("41 * * * *", "hourly at 41 past")
FLOW = and_while_red(REPORTS, "hourly at 41 past, and every ten minutes while it is red")
PRIVACY = on_clock("29 3 * * *", "nightly at 03:29 UTC")
HISTORY = on_clock("53 3 * * *", "nightly at 03:53 UTC")

# With its checks. All else that has a condition is hourly.
_NIGHTLY = dg.AssetSelection.groups("compliance")
# Runs of those that ship are taken off Dagster's queue before these.
_LATER = {"dagster/priority": "-1"}
# Of each: the job that does the same by hand, and an asset that its runs make. Alerts on failed runs see both as one.
JOBS: Mapping[str, str] = {
    "sweep_orders": "order_sweeps",
    "refresh_reports": "order_board",
    "shred_expired_pii": "pii_retention",
    "prune_history": "dagster_history",
}


def _sensor(name: str, target: dg.AssetSelection, *, max_runtime: int, description: str) -> dg.SensorDefinition:
    return dg.AutomationConditionSensorDefinition(
        name=name,
        target=target,
        run_tags={"dagster/max_runtime": str(max_runtime), **_LATER},
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
        description=described_plainly(
            f"{description}\n\nA tick that asks for nothing says so; what it asked for is in its tick's history, and "
            f"its runs "
            "have its name as a tag.",
            red="Work that did not start",
            rule="ours: what counts whole tables or destroys waits for the runs that ship, and for its hour.",
        ),
    )


hourly_assets_sensor = _sensor(
    "hourly_assets_sensor",
    dg.AssetSelection.all() - _NIGHTLY,
    max_runtime=900,
    description="Makes the hourly assets: at 17 past the sweep, at 41 past the reports with the checks of the flow.",
)
# The leak scan alone may take ten minutes, the retention of a large shop longer.
nightly_assets_sensor = _sensor(
    "nightly_assets_sensor",
    _NIGHTLY,
    max_runtime=7200,
    description="Makes the nightly assets: at 03:29 UTC retention with every compliance check, at 03:53 UTC the "
    "pruning of Dagster's own history.",
)
CONDITION_SENSORS = (hourly_assets_sensor.name, nightly_assets_sensor.name)
