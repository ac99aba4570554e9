"""What opens and closes each alert of `orders_pipeline/channels/amazon/alerts.py`."""

from __future__ import annotations

from orders_pipeline.channels.amazon.alerts import DUE, ENDED, REFUSED
from orders_pipeline.channels.amazon.auth.authorizations import (
    CONSENT,
    insert_authorization,
    mark_ended,
    mark_roles_changed,
    note_refused,
    note_worked,
)
from orders_pipeline_tests.alerts.case import Case
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World

OLD, NEW = "fingerprint of the old one", "fingerprint of the new one"


def _authorize(world: World, fingerprint: str = OLD) -> None:
    with world.database.transaction(SELLER) as tx:
        insert_authorization(tx, fingerprint, source=CONSENT, by="person:susan")


def _nearly_a_year_ago(world: World) -> None:
    _authorize(world)
    world.sql("update pipeline.amazon_authorizations set due_at = due_at - interval '340 days'")


def _roles_changed(world: World) -> None:
    _authorize(world)
    with world.database.transaction(SELLER) as tx:
        assert mark_roles_changed(tx) == 1


def _refused(world: World) -> None:
    _authorize(world)
    with world.database.transaction(SELLER) as tx:
        note_refused(tx, OLD)
        note_refused(tx, OLD)


def _works_again(world: World) -> None:
    with world.database.transaction(SELLER) as tx:
        note_worked(tx, OLD)


def _ended(world: World) -> None:
    _refused(world)
    with world.database.transaction(SELLER) as tx:
        mark_ended(tx, OLD)


CASES = (
    Case(DUE, _nearly_a_year_ago, lambda world: _authorize(world, NEW)),
    Case(REFUSED, _refused, _works_again),
    Case(ENDED, _ended, lambda world: _authorize(world, NEW)),
)
# Other ways to the same.
ROLES_CHANGED = Case(DUE, _roles_changed, lambda world: _authorize(world, NEW))
