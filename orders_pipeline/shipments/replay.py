"""Give an order's packages another chance because a person says so."""

from __future__ import annotations

from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.model.states import NEEDS_A_PERSON
from orders_pipeline.shipments.rows import change_package, lock_packages
from orders_pipeline.shipments.states import PackageEvent
from orders_pipeline.work.jobs import Queue, package_subject
from orders_pipeline.work.queue import unpark


def replay_packages(tx: AccountTransaction, order_id: str) -> int:
    """Give the packages of one order that need a person, and their parked jobs, another chance; how many.

    Packages that Amazon was told of are verified first, the others confirmed.
    """
    packages = lock_packages(tx, order_id)
    unpark(tx, queue=Queue.CONFIRM, subjects=[package_subject(order_id, one.package_id) for one in packages])
    unpark(tx, queue=Queue.VERIFY, subjects=[order_id])
    waiting = [package for package in packages if package.state in NEEDS_A_PERSON]
    for package in waiting:
        event = PackageEvent.REPLAY_TOLD if package.known_to_amazon else PackageEvent.REPLAY_UNTOLD
        change_package(tx, package, event, reason=None, confirmations=0, verifications=0)
    return len(waiting)
