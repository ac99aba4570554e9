"""The accounts in Dagster: each served beside the others, and a run that fails at its end if one of them had a defect.

A step that failed at once would keep the other accounts' orders from the steps after it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from orders_pipeline.audit.log import acting_as
from orders_pipeline.database.embedded import EmbeddedPostgresError
from orders_pipeline.defs.actors import actor_of
from orders_pipeline.defs.metadata import Shown, table
from orders_pipeline.defs.resources import AwakeResource, StoreResource
from orders_pipeline.operations.accounts import (
    ACCOUNTS_AT_ONCE,
    Account,
    Numbers,
    Result,
    Served,
    Watches,
    add_up,
    serve_each,
)
from orders_pipeline.operations.deployment import ServedAccount
from orders_pipeline.operations.hot_run import HotDone, HotJob, serve_hot
from orders_pipeline.settings import SettingsError

# Which accounts had a defect in this run, by id: seen in the list of runs, and read by its last step.
DEFECTS_TAG = "orders_pipeline/accounts_with_a_defect"
# Of hot runs, short since the list of runs cuts them off. Before an account's id: whether it had anything to do.
ACCOUNT_TAG = "account"
WORKED, IDLE = "worked", "idle"
# How many of what, of all accounts.
HANDLED_TAG = "handled"

# Whatever reads an asset here reads the store: nothing made from it is out of step ("Unsynced") because a run ended.
IN_THE_STORE = dg.DataVersion("in the store")

_logger = logging.getLogger(__name__)

Context = dg.AssetExecutionContext | dg.OpExecutionContext | dg.AssetCheckExecutionContext


def serve_accounts(
    context: Context, accounts: Sequence[Account], work: Callable[[Account], Result], *, waits: bool = False
) -> Served[Result]:
    """Do the work for each of these accounts; a defect is logged, and kept for `fail_on_defects`.

    `waits`: it mostly waits for Amazon or the warehouse, so that all begin at once: four that hang would else keep the
    others from their turn. What the database works for is done for a few at a time.
    """
    with acting_as(actor_of(context)):
        served = serve_each(accounts, work, at_once=max(len(accounts), 1) if waits else ACCOUNTS_AT_ONCE)
    _note_defects(context, served)
    return served


def serve_hot_run(
    context: dg.AssetExecutionContext, store: StoreResource, job: HotJob, awake: AwakeResource
) -> Iterator[dg.MaterializeResult]:
    """Do the work of a hot run for every account, and show each asset with its own numbers.

    Of what is outside the pipeline they are an observation. The run's tags name its accounts and what it handled.
    """
    with acting_as(actor_of(context)):
        accounts = store.accounts()
        done = serve_hot(store.database(), accounts, job, awake.as_value(), store.still_serves(accounts))
    context.instance.add_run_tags(context.run.run_id, handled_tags(done))
    for asset, served in done.shown.items():
        _note_defects(context, served)
        shown = as_metadata(served)
        if dg.AssetKey(asset) in context.selected_asset_keys:
            yield dg.MaterializeResult(asset_key=asset, metadata=shown, data_version=IN_THE_STORE)
        else:
            context.log_event(dg.AssetObservation(asset, metadata=shown))


def handled_tags(done: HotDone) -> dict[str, str]:
    """For each account whether there was work for it, and how many of what were handled: the list of runs filters."""
    # What came furthest first: the list cuts off the rest.
    told = [f"{count} {what}" for what, count in reversed(add_up(done.handled).items()) if count]
    accounts = {f"{ACCOUNT_TAG}/{one}": WORKED if any(done.handled[one].values()) else IDLE for one in done.handled}
    return {**accounts, HANDLED_TAG: ", ".join(told) or "nothing"}


def _note_defects(context: Context, served: Served[Any]) -> None:
    for problem in problems_of(served):
        context.log.error(problem)
    if served.defects:
        known = _accounts_with_a_defect(context) | served.defects.keys()
        context.instance.add_run_tags(context.run.run_id, {DEFECTS_TAG: ",".join(sorted(known))})


def serve_in_tick(
    context: dg.SensorEvaluationContext,
    store: StoreResource,
    work: Callable[[ServedAccount], Result],
    chosen: Callable[[Sequence[ServedAccount]], Sequence[ServedAccount]] = list,
    enough: tuple[Watches, Callable[[Result], bool]] | None = None,
) -> Served[Result] | dg.SkipReason:
    """Do the work of a sensor's tick for every account (or the `chosen`), all at once: each may wait for somebody else.

    `enough`: the tick ends once one account has it; the others' work goes on beside the next tick. Skips while settings
    or the embedded server are missing. Raises dg.Failure if no account could be served.
    """
    try:
        accounts = chosen(store.accounts())
        store.database()
    except (SettingsError, EmbeddedPostgresError) as error:
        return dg.SkipReason(str(error))
    with acting_as(f"job:{context.sensor_name}"):
        if enough is None:
            served = serve_each(accounts, work, at_once=len(accounts))
        else:
            watches, is_enough = enough
            served = watches.until_enough(accounts, work, is_enough)
    for problem in problems_of(served):
        _logger.error("%s: %s", context.sensor_name, problem)
    if served.defects and not served.results:
        raise dg.Failure(description="; ".join(problems_of(served)))
    return served


def problems_of(served: Served[Any]) -> list[str]:
    return [f"account {one}: {defect}" for one, defect in sorted(served.defects.items())]


def fail_on_defects(context: Context) -> None:
    """End the run as failed if an account had a defect in any of its steps: for the last step of a job."""
    if accounts := sorted(_accounts_with_a_defect(context)):
        raise dg.Failure(
            description=f"A defect stopped the work for: {', '.join(accounts)}. The other accounts were served; the "
            "log of this run says where.",
            metadata={"accounts_with_a_defect": len(accounts)},
            allow_retries=False,
        )


def problems_as_metadata(served: Served[Any]) -> dict[str, Shown]:
    """How many accounts had a defect, and where."""
    shown: dict[str, Shown] = {"accounts_with_a_defect": len(served.defects)}
    if served.defects:
        shown["defects"] = table(["account", "defect"], sorted(served.defects.items()))
    return shown


def as_metadata(served: Served[Numbers]) -> Mapping[str, Shown]:
    """The numbers of all accounts together, and which account had a defect; with several accounts a row for each."""
    shown: dict[str, Shown] = {**add_up(served.results)}
    shown["accounts_with_a_defect"] = len(served.defects)
    everybody = sorted({*served.results, *served.defects})
    if served.defects or len(everybody) > 1:
        names = sorted({name for each in served.results.values() for name in each})
        rows = [
            (one, served.defects.get(one), *(served.results.get(one, {}).get(name) for name in names))
            for one in everybody
        ]
        shown["accounts"] = table(["account", "defect", *names], rows)
    return shown


def _accounts_with_a_defect(context: Context) -> set[str]:
    run = context.instance.get_run_by_id(context.run.run_id)
    named = run.tags.get(DEFECTS_TAG, "") if run is not None else ""
    return set(named.split(",")) - {""}
