"""Choose the cheapest plan of Amazon calls for the orders that wait to be read.

One page of a listing answers for up to a hundred orders, but its bucket refills once in three minutes, and it shows an
order only two minutes after it changed. A call for one order answers at once, and its bucket refills every two seconds.
So the few and the urgent are asked one by one, and a crowd by pages. A page never has the last word: an order that it
does not show is asked for by its id.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from orders_pipeline.model.order import LIST_LAG, MERCHANT, Bucket, Priority, ReadQuota, SearchWindow

# A page holds so many orders; v0 lists so many ids a call.
ORDERS_A_PAGE, IDS_A_PAGE = 100, 50
# With a full listing bucket, whose tokens would be lost, a page is worth it for so many; as the bucket empties, for as
# many as could be asked one by one while its token comes back (some ninety at Amazon's rates).
CROWD = 20
# Sweeps leave two tokens, and the next sweep reads a page or two.
TOKENS_FOR_SWEEPS = 4
# After so many pages for a backfill it is planned anew: a crowd of live orders goes before.
PAGES_FOR_BACKFILL = 3
# So near to its ship-by time an order goes before the crowd, as far as its bucket answers at once.
URGENT = timedelta(hours=4)
# So long what can wait waits for others, to be read with them.
PATIENCE = timedelta(minutes=15)
# The time of our call is some seconds older than Amazon's time of the change that it made.
SETTLE = timedelta(seconds=10)
# A message's time of the change and Amazon's `lastUpdatedTime` are not the same field.
MARGIN = timedelta(minutes=2)
# Orders that changed further apart are two crowds: what changed between them would fill the pages.
GAP = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Waiting:
    """An order that waits to be read. `changed_at`: its latest change that is known (aware, UTC); None: unknown.

    `alone`: it is asked for by its id, since it may have to be stopped, failed before, or no page showed it.
    """

    order_id: str
    changed_at: datetime | None
    ship_by: datetime | None = None
    alone: bool = False
    fulfilled_by: str = MERCHANT
    marketplace_id: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """A window of which pages were read already. `page_token`: of the next one; None: it was read to its end."""

    window: SearchWindow
    page_token: str | None


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """How the orders that wait are read. `listed`: by at most `pages` pages, each worth it for `worth` orders.

    `window` is that of the pages; None where the listing is by ids (v0), or there are no pages. `page_token`: the page
    that is next, where the window was begun before. `single`: how many are asked one by one; `unlisted`: those of them
    that no page shows yet. `priority`: at which the pages are asked for.
    """

    reason: str
    single: int
    listed: tuple[str, ...] = ()
    unlisted: int = 0
    pages: int = 0
    worth: int = CROWD
    window: SearchWindow | None = None
    page_token: str | None = None
    priority: Priority = Priority.SWEEP


def plan_reads(
    waiting: Sequence[Waiting],
    quota: ReadQuota,
    now: datetime,
    marketplace_ids: Collection[str],
    *,
    by_ids: bool = False,
    in_haste: bool = True,
    priority: Priority = Priority.SWEEP,
    listing: Listing | None = None,
) -> ReadPlan:
    """The plan for these orders, in the order in which they would be asked one by one; `now` aware, UTC.

    `by_ids`: the listing takes ids (v0) instead of a window of time. `in_haste`: those that can be asked one by one at
    once are, even if a page would do. `priority`: BACKFILL for what only a backfill asks for, which has what live
    orders leave of both buckets. `listing`: how far the newest window was read; no page of it is paid for again.
    """
    is_backfilled = priority is Priority.BACKFILL
    budget = page_budget(quota.listing, priority)
    if is_backfilled:
        budget = min(budget, PAGES_FOR_BACKFILL)
    worth = page_worth(quota)
    at_once = max(0, math.floor(quota.single.tokens - (quota.single.kept if is_backfilled else 0)))
    crowd: list[tuple[datetime, Waiting]] = []
    urgent = unlisted = 0
    for one in waiting:
        if one.changed_at is None or not is_listed(one, now, marketplace_ids):
            unlisted += one.changed_at is not None and one.changed_at > now - LIST_LAG
        elif is_urgent(one.ship_by, now) and urgent < at_once:
            urgent += 1
        else:
            crowd.append((one.changed_at, one))
    if not by_ids:
        crowd = _dense(crowd)
    size = IDS_A_PAGE if by_ids else ORDERS_A_PAGE

    def one_by_one(reason: str) -> ReadPlan:
        return ReadPlan(reason, len(waiting), unlisted=unlisted, worth=worth)

    if in_haste and len(crowd) <= at_once:
        return one_by_one(f"{len(waiting)} one by one: no crowd" + (" is listed yet" if unlisted > at_once else ""))
    if len(crowd) < worth:
        return one_by_one(f"{len(waiting)} one by one: a page is worth it for {worth} now")
    if budget < 1:
        whose = "live work's" if is_backfilled else "the sweep's"
        return one_by_one(f"{len(waiting)} one by one: the listing's last tokens are {whose}")
    pages = min(budget, -(-len(crowd) // size))
    # The longest listed first; what else a page shows of those that wait is answered from it too.
    crowd = crowd[: pages * size] if by_ids else sorted(crowd, key=lambda entry: entry[0])[: pages * size]
    single, window = len(waiting) - len(crowd), None
    token = None
    if not by_ids:
        window, token = _window(crowd, now, marketplace_ids, listing, worth)
        if token is not None:
            # What changed after the window's end has no page in it.
            crowd = [entry for entry in crowd if _is_in(window, *entry)]
            single, pages = len(waiting) - len(crowd), -(-len(crowd) // size)
        # Orders that nobody waits for may stand between them.
        pages = min(budget, pages + 1 + pages // 4)
    return ReadPlan(
        f"{len(crowd)} by pages, {single} one by one",
        single,
        tuple(one.order_id for _, one in crowd),
        unlisted,
        pages,
        worth,
        window,
        token,
        priority,
    )


def _window(
    crowd: Sequence[tuple[datetime, Waiting]],
    now: datetime,
    marketplace_ids: Collection[str],
    listing: Listing | None,
    worth: int,
) -> tuple[SearchWindow, str | None]:
    """The window that lists this crowd (the longest listed first), and the token of the page that is next in it."""
    marketplaces = tuple(marketplace_ids)
    if listing is not None and listing.window.marketplace_ids == marketplaces:
        begun = listing.window
        if listing.page_token is not None and sum(_is_in(begun, *entry) for entry in crowd) >= worth:
            return begun, listing.page_token
        read_until = begun.updated_before if listing.page_token is None else None
    else:
        read_until = None
    first = crowd[0][0]
    only = (MERCHANT,) if all(one.fulfilled_by == MERCHANT for _, one in crowd) else ()
    # What was listed before the end of the window that was read last would fill the first pages.
    starts_at = first - MARGIN if read_until is None else max(first - MARGIN, min(first, read_until) - SETTLE)
    return SearchWindow(starts_at, now - LIST_LAG, marketplaces, only), None


def _is_in(window: SearchWindow, changed_at: datetime, one: Waiting) -> bool:
    """Whether this window lists the order, as far as is known."""
    is_its = not window.fulfilled_by or one.fulfilled_by in window.fulfilled_by
    return is_its and window.updated_after <= changed_at < window.updated_before


def hold_back(waiting: Sequence[Waiting], quota: ReadQuota, now: datetime) -> list[str]:
    """Which of these wait for company: the bucket of single calls is below half, and they are neither urgent nor old.

    The other half is for new orders; what is above it would be lost.
    """
    spare = math.floor(quota.single.tokens - quota.single.burst / 2)
    held: list[str] = []
    for one in waiting:
        if not can_wait(one, now):
            continue
        if spare > 0:
            spare -= 1
        else:
            held.append(one.order_id)
    return held


def can_wait(one: Waiting, now: datetime) -> bool:
    """Whether it is neither urgent, nor to be asked for by its id, nor old."""
    return not _goes_first(one, now) and one.changed_at is not None and one.changed_at >= now - PATIENCE


def is_urgent(ship_by: datetime | None, now: datetime) -> bool:
    """Whether an order is so near to its ship-by time that it goes before a crowd."""
    return ship_by is not None and ship_by < now + URGENT


def page_budget(listing: Bucket, priority: Priority) -> int:
    """How many pages may be read now; at BACKFILL those that live orders and sweeps leave."""
    left = max(TOKENS_FOR_SWEEPS, listing.kept if priority is Priority.BACKFILL else 0)
    return math.floor(listing.tokens - left)


def page_comes_at(waiting: Sequence[Waiting], quota: ReadQuota, now: datetime, size: int) -> datetime | None:
    """When one page will answer all of these that need not go first, or as many as fill it; None: not worth a page.

    `size`: how many a page holds. Until then none of them is worth a call of its own, and the oldest has waited for
    long enough: so what has waited longer counts too, and is not dropped from the page that it waited for.
    """
    changes = sorted(one.changed_at for one in waiting if one.changed_at is not None and not _goes_first(one, now))
    if len(changes) < page_worth(quota) or page_budget(quota.listing, Priority.SWEEP) < 1:
        return None
    return min(changes[:size][-1] + LIST_LAG + SETTLE, changes[0] + PATIENCE)


def _goes_first(one: Waiting, now: datetime) -> bool:
    return one.alone or is_urgent(one.ship_by, now)


def is_listed(one: Waiting, now: datetime, marketplace_ids: Collection[str]) -> bool:
    """Whether a page may answer this order: Amazon lists its last change, and nothing says to ask for it by its id."""
    if one.alone or one.changed_at is None or one.changed_at > now - LIST_LAG:
        return False
    return one.marketplace_id is None or one.marketplace_id in marketplace_ids


def page_worth(quota: ReadQuota) -> int:
    """For how many orders a page is worth its token, by how full the listing's bucket is."""
    spare = quota.listing.tokens - TOKENS_FOR_SWEEPS
    fullness = min(max(spare / max(quota.listing.burst - 1 - TOKENS_FOR_SWEEPS, 1), 0.0), 1.0)
    while_it_refills = quota.single.rate / quota.listing.rate
    return max(CROWD, round(while_it_refills - (while_it_refills - CROWD) * fullness))


def _dense(crowd: list[tuple[datetime, Waiting]]) -> list[tuple[datetime, Waiting]]:
    """Without those that changed long before the others and are too few for a page of their own."""
    latest_first = sorted(crowd, key=lambda entry: entry[0], reverse=True)
    groups: list[list[tuple[datetime, Waiting]]] = []
    for entry in latest_first:
        if groups and groups[-1][-1][0] - entry[0] <= GAP:
            groups[-1].append(entry)
        else:
            groups.append([entry])
    # The window reaches from the oldest to now: for a few of long ago, all that changed since would be paid for.
    return [entry for group in groups if len(group) >= CROWD for entry in group]
