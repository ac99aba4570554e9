"""Asset checks: each shows that a promise holds now for every account, with the numbers behind it.

They count whole tables, so they are no part of the step that makes their asset: hourly by themselves, every ten minutes
while they are red, and by anybody at any time with "Execute" in the UI. They write nothing.

https://docs.dagster.io/guides/test/asset-checks
"""

from collections.abc import Iterator

import dagster as dg

from orders_pipeline.defs.accounts import problems_of, serve_accounts
from orders_pipeline.defs.automation import FLOW, SWEEPS
from orders_pipeline.defs.guide import described
from orders_pipeline.defs.metadata import Shown, table
from orders_pipeline.defs.resources import StoreResource
from orders_pipeline.operations.accounts import Served
from orders_pipeline.operations.promises import PROMISES, Promise, count_for

# Counted with the reports. Those of the sweeps are counted after each sweep.
FLOW_CHECKS = dg.AssetSelection.checks_for_assets(*{one.asset for one in PROMISES} - {"order_sweeps"})


@dg.multi_asset_check(
    name="flow_checks",
    specs=[
        dg.AssetCheckSpec(
            one.name,
            asset=one.asset,
            description=described(f"{one.description}\n\n**To do:** {one.what_to_do}", red=one.runbook, rule=one.rule),
            automation_condition=SWEEPS if one.asset == "order_sweeps" else FLOW,
        )
        for one in PROMISES
    ],
    can_subset=True,
)
def flow_checks(context: dg.AssetCheckExecutionContext, store: StoreResource) -> Iterator[dg.AssetCheckResult]:
    """The promises of the flow from Amazon to the warehouse and back."""
    accounts = store.accounts()
    chosen = {key.name: key for key in context.selected_asset_check_keys}
    for promise in PROMISES:
        if promise.name in chosen:
            yield _result(promise, serve_accounts(context, accounts, count_for(promise)))


def _result(promise: Promise, served: Served[int]) -> dg.AssetCheckResult:
    """One result of all accounts. An account that could not be counted makes it red: that proves nothing."""
    broken = {account_id: count for account_id, count in served.results.items() if count}
    metadata: dict[str, Shown] = {promise.unit: sum(served.results.values())}
    if broken and len(served.results) > 1:
        metadata["accounts"] = table(["account", promise.unit], sorted(broken.items()))
    reasons = [f"It could not be counted: {problem}." for problem in problems_of(served)]
    return dg.AssetCheckResult(
        asset_key=promise.asset,
        check_name=promise.name,
        passed=not broken and not reasons,
        severity=dg.AssetCheckSeverity.ERROR if promise.is_error or reasons else dg.AssetCheckSeverity.WARN,
        description=" ".join([*([promise.what_to_do] if broken else []), *reasons]) or None,
        metadata=metadata,
    )
