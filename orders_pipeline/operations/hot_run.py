"""One hot run for every account: the stages of a job, side by side, and the numbers that each of its assets shows.

An asset may be one outside the pipeline: it shows what was seen of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial

from orders_pipeline.database.engine import Database
from orders_pipeline.operations.accounts import Numbers, Served, defect_of
from orders_pipeline.operations.deployment import ServedAccount
from orders_pipeline.operations.pending_work import accounts_with_work
from orders_pipeline.work.hot_loop import Awake, Due, Stage, work_hot
from orders_pipeline.work.tally import Tally


@dataclass(frozen=True, slots=True)
class JobStage:
    """One kind of work of a job, for any account. `name`: its queue, or its log; `shows`: its numbers, by asset.

    `handled`: what becomes of what it handles ("pushed"), as it is told after its number in the list of runs.
    """

    name: str
    work: Callable[[ServedAccount, float], Tally]
    shows: Mapping[str, Callable[[Tally], Numbers]]
    handled: str | None = None


@dataclass(frozen=True, slots=True)
class HotJob:
    """The stages in the order of the flow, and when each has something to do."""

    stages: Collection[JobStage]
    due: Due


@dataclass(frozen=True, slots=True)
class HotDone:
    """What a hot run did: by asset, the numbers and defects of each account; by account, how many were handled."""

    shown: Mapping[str, Served[Numbers]]
    handled: Mapping[str, Mapping[str, int]]


def serve_hot(
    database: Database,
    accounts: Collection[ServedAccount],
    job: HotJob,
    awake: Awake,
    is_current: Callable[[], bool] = lambda: True,
) -> HotDone:
    """Work every stage of every account off, and stay awake. Raises nothing that one account's work raises.

    `is_current`: whether these are still the accounts to serve; else the run ends, and its successor has the others.
    """
    stages = {
        (account.account_id, one.name): Stage(account.account_id, one.name, partial(one.work, account))
        for account in accounts
        for one in job.stages
    }
    done = work_hot(database, stages.values(), job.due, awake, with_work=accounts_with_work, is_current=is_current)
    for account in accounts:
        account.write_counts()
    shown: dict[str, Served[Numbers]] = {}
    for one in job.stages:
        results = {account.account_id: done[stages[account.account_id, one.name]] for account in accounts}
        defects = {each: defect_of(result.error) for each, result in results.items() if result.error is not None}
        for asset, numbers in one.shows.items():
            before = shown.get(asset, Served())
            shown[asset] = Served(
                {each: {**before.results.get(each, {}), **numbers(result.tally)} for each, result in results.items()},
                {**before.defects, **defects},
            )
    handled = {
        account.account_id: {
            one.handled: sum(done[stages[account.account_id, one.name]].tally.outcomes.values())
            for one in job.stages
            if one.handled is not None
        }
        for account in accounts
    }
    return HotDone(shown, handled)
