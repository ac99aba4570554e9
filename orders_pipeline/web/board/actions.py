"""What is done at the board: claim, waive a hold, replay, recover, show an address. POST alone, by who may.

The guard has looked at where the form comes from and whether this person may change anything. Each act is in the audit
log under the person's name; where nobody logs in, under that of the operating system's user, as commands are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orders_pipeline.audit.log import acting_as
from orders_pipeline.fulfillment.eligibility import WAIVABLE
from orders_pipeline.operations.order_board.address import AddressNotShown, read_address
from orders_pipeline.operations.order_board.claims import NotClaimed, OrderName, claim, person_shown, take_over, unclaim
from orders_pipeline.operations.replay import recover_order, replay_parked
from orders_pipeline.operations.waive import HoldNotWaived, waive_hold
from orders_pipeline.web.board.pages import BOARD_PATH, BoardPages, actor_of
from orders_pipeline.web.board.rendering import Pages
from orders_pipeline.web.board.store import BoardStore
from orders_pipeline.web.forms import read_fields
from orders_pipeline.web.visitor import Visitor, visitor_of

SHORTEST_REASON, LONGEST_REASON = 5, 200
_FORBIDDEN, _NOT_FOUND, _CONFLICT = 403, 404, 409


class NotDone(Exception):
    """What was asked for was not done; the message says why."""

    def __init__(self, why: str, status: int = _CONFLICT) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Act:
    """What one person asks for."""

    order: OrderName
    actor: str
    fields: dict[str, list[str]]

    def reason(self) -> str:
        """Why, in the person's words. Raises NotDone."""
        reason = " ".join(self.fields.get("reason", [""])[0].split())
        if not SHORTEST_REASON <= len(reason) <= LONGEST_REASON:
            raise NotDone(f"Say why in {SHORTEST_REASON} to {LONGEST_REASON} characters: it is kept in the audit log.")
        return reason


class BoardActions:
    """The routes that act."""

    def __init__(self, store: BoardStore, board: BoardPages, pages: Pages) -> None:
        self._store = store
        self._board = board
        self._pages = pages
        self._acts: dict[str, Callable[[Act], str]] = {
            "claim": self._claim,
            "unclaim": self._unclaim,
            "take-over": self._take_over,
            "waive": self._waive,
            "take-back": self._take_back,
            "replay": self._replay,
            "recover": self._recover,
        }

    def routes(self) -> list[Route]:
        order = f"{BOARD_PATH}/orders/{{account_id}}/{{order_id}}"
        # Before the others: it alone answers with a buyer's data.
        return [
            Route(f"{order}/address", self._board.answered(self._show_address), methods=["POST"]),
            Route(f"{order}/{{act}}", self._board.answered(self._do), methods=["POST"]),
        ]

    async def _do(self, request: Request) -> Response:
        try:
            perform = self._named(request.path_params["act"])
            asked = await self._asked(request)
            done = await self._store.run(lambda: perform(asked))
        except NotDone as refused:
            return await self._answer(request, str(refused), refused.status)
        except NotClaimed as refused:
            return await self._answer(request, str(refused), _CONFLICT)
        except HoldNotWaived as refused:
            return await self._answer(request, str(refused), _CONFLICT)
        return await self._answer(request, done)

    async def _show_address(self, request: Request) -> Response:
        try:
            asked = await self._asked(request, shows_address=True)
            reason = asked.reason()
            vault = self._store.deployment.vault

            def reveal() -> tuple[tuple[str, str], ...]:
                order = asked.order
                return read_address(
                    vault, account_id=order.account_id, order_id=order.order_id, reason=reason, actor=asked.actor
                )

            lines = await self._store.run(reveal)
        except NotDone as refused:
            return await self._answer(request, str(refused), refused.status)
        except AddressNotShown as refused:
            return await self._answer(request, str(refused), _NOT_FOUND)
        return self._pages.answer("address.html", {"lines": lines, "actor": asked.actor, "order": asked.order})

    def _named(self, act: str) -> Callable[[Act], str]:
        if act not in self._acts:
            raise NotDone("There is nothing of this name to do.", _NOT_FOUND)
        return self._acts[act]

    async def _asked(self, request: Request, *, shows_address: bool = False) -> Act:
        """Raises NotDone."""
        visitor = _visitor(request)
        if not visitor.may_change:
            raise NotDone("You may look, and change nothing: you are a viewer, or the UI is read-only.", _FORBIDDEN)
        if shows_address and not visitor.role.may_see_addresses:
            raise NotDone("Your role may not be shown addresses: a supervisor's may.", _FORBIDDEN)
        account_id, order_id = request.path_params["account_id"], request.path_params["order_id"]
        if not self._store.serves(account_id, order_id):
            raise NotDone("This is no order of an account that is served.", _NOT_FOUND)
        fields = await read_fields(request)
        if fields is None:
            raise NotDone("The form cannot be read, or is too long.", 400)
        return Act(OrderName(account_id, order_id), actor_of(visitor), fields)

    async def _answer(self, request: Request, sentence: str, status: int = 200) -> Response:
        """What came of it and, if the order is there, its panel as it is now."""
        account_id, order_id = request.path_params["account_id"], request.path_params["order_id"]
        panel, now = await self._store.panel(account_id, order_id)
        values = {**self._board.common(request, {}), "panel": panel, "now": now, "sentence": sentence}
        return self._pages.answer("acted.html", {**values, "is_bad": status >= 400}, status=status)

    # --- what can be done

    def _claim(self, asked: Act) -> str:
        claim(self._store.deployment.database, self._store.deployment.audit, asked.order, asked.actor)
        return f"Order {asked.order.order_id} is yours."

    def _unclaim(self, asked: Act) -> str:
        unclaim(self._store.deployment.database, self._store.deployment.audit, asked.order, asked.actor)
        return f"Nobody has claimed order {asked.order.order_id} any more."

    def _take_over(self, asked: Act) -> str:
        owner = asked.fields.get("owner", [""])[0]
        if not owner:
            raise NotDone("Say whose claim you take over.")
        deployment = self._store.deployment
        take_over(deployment.database, deployment.audit, asked.order, asked.actor, expected_owner=owner)
        return f"Order {asked.order.order_id} is yours, and no longer {person_shown(owner)}'s."

    def _waive(self, asked: Act) -> str:
        reasons = asked.fields.get("hold", [])
        if not reasons:
            raise NotDone("Choose the hold to waive.")
        # Another person may have decided since this page was rendered: it adds, and says nothing of the other holds.
        self._set_waived(asked, reasons, keeps_others=True)
        return f"Order {asked.order.order_id} will be shipped in spite of it, once Amazon has been asked again."

    def _take_back(self, asked: Act) -> str:
        self._set_waived(asked, [])
        return f"Order {asked.order.order_id} waits for its holds again."

    def _set_waived(self, asked: Act, reasons: list[str], *, keeps_others: bool = False) -> None:
        if unknown := set(reasons) - WAIVABLE:
            raise NotDone(f"{len(unknown)} of these holds is not a person's to waive.")
        deployment, order = self._store.deployment, asked.order
        with acting_as(asked.actor):
            waive_hold(
                deployment.database,
                deployment.audit,
                account_id=order.account_id,
                order_id=order.order_id,
                reasons=reasons,
                why=asked.reason(),
                keeps_others=keeps_others,
            )

    def _replay(self, asked: Act) -> str:
        deployment, order = self._store.deployment, asked.order
        with acting_as(asked.actor):
            tally = replay_parked(
                deployment.database, deployment.audit, account_id=order.account_id, order_ids=[order.order_id]
            )
        packages = tally.outcomes.get("packages", 0)
        return f"Order {order.order_id} and {packages} of its packages are due again."

    def _recover(self, asked: Act) -> str:
        deployment, order = self._store.deployment, asked.order
        with acting_as(asked.actor):
            recover_order(deployment.database, deployment.audit, account_id=order.account_id, order_id=order.order_id)
        return f"Amazon is asked about order {order.order_id} by the next run."


def _visitor(request: Request) -> Visitor:
    found = visitor_of(request.scope)
    if found is None:
        raise NotDone("This request did not come through the guard.", _FORBIDDEN)
    return found
