"""An order as Tryton has it: the party that stands for its buyer, and its shipments.

Shipments carry the order's id as their reference, which Tryton does not keep unique: a person splits one, or copies one
that was cancelled. Those that belong to the order's own party are ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from orders_pipeline.wms.tryton import order_marks
from orders_pipeline.wms.tryton.calls import Calls, Record, as_id
from orders_pipeline.wms.tryton.errors import Changed, NotDone
from orders_pipeline.wms.tryton.order_marks import OrderMarks, party_code

SHIPMENT = "stock.shipment.out"
SENT = frozenset({"shipped", "done"})
PACKING = frozenset({"picked", "packed"})
CANCELLED = "cancelled"
DRAFT = "draft"
_FIELDS = ["state", "customer", "effective_date", "_timestamp"]


@dataclass(frozen=True, slots=True)
class Shipment:
    """`stamp` is Tryton's `_timestamp`: it changes with the record."""

    id: int
    state: str
    party_id: int | None
    stamp: str
    was_sent: bool

    @property
    def is_cancelled(self) -> bool:
        return self.state == CANCELLED


@dataclass(frozen=True, slots=True)
class OrderAtTryton:
    """`shipments`: the order's own, the oldest first. `marks` is None where somebody took them away."""

    party_id: int
    marks: OrderMarks | None
    shipments: tuple[Shipment, ...]

    @property
    def pushed(self) -> Shipment | None:
        """The shipment that was pushed, unless somebody deleted it."""
        return next((one for one in self.shipments if self.marks and one.id == self.marks.shipment_id), None)

    @property
    def status(self) -> str:
        """In the words of the port."""
        live = [one for one in self.shipments if not one.is_cancelled]
        sent = [one for one in live if one.state in SENT]
        if not live:
            return "cancelled"
        if sent:
            return "shipped" if len(sent) == len(live) else "partially_shipped"
        return "packing" if any(one.state in PACKING for one in live) else "accepted"


@dataclass(frozen=True, slots=True)
class Found:
    """All of an order's id. `strays`: drafts of pushes that another one overtook; `others`: those of somebody else."""

    order: OrderAtTryton | None
    strays: tuple[Shipment, ...]
    others: tuple[Shipment, ...]


def find_order(calls: Calls, order_ref: str, nobody: int) -> Found:
    """What Tryton has of this order. `nobody`: the party that stands for buyers until an order has its own."""
    # A copy of a shipment has its customer, and no reference.
    domain = ["OR", ["reference", "=", order_ref], ["customer.code", "=", party_code(order_ref)]]
    shipments = [shipment_of(one) for one in calls.search_read(SHIPMENT, domain, _FIELDS, order=[("id", "ASC")])]
    party_id, marks = read_marks(calls, [party_code(order_ref)]).get(party_code(order_ref), (None, None))
    pushed = marks.shipment_id if marks is not None else None
    if pushed is not None and all(one.id != pushed for one in shipments):
        # Its reference was changed before it was handed over.
        shipments += map(shipment_of, calls.search_read(SHIPMENT, [["id", "=", pushed]], _FIELDS))
    ours = tuple(one for one in shipments if one.id == pushed or (party_id is not None and one.party_id == party_id))
    rest = [one for one in shipments if one not in ours]
    strays = tuple(one for one in rest if one.party_id == nobody and one.state == DRAFT)
    others = tuple(one for one in rest if one.party_id != nobody)
    return Found(OrderAtTryton(party_id, marks, ours) if party_id is not None else None, strays, others)


def take_away(calls: Calls, strays: Iterable[Shipment]) -> None:
    """Cancel drafts for nobody, so that whoever looks for the order's id finds the one that is at work.

    One that stays does no harm, and the next call about its order tries again.
    """
    for stray in strays:
        with suppress(NotDone, Changed):
            calls.write(SHIPMENT, [stray.id], {"reference": None}, unchanged_since={stray.id: stray.stamp})
            calls.do(SHIPMENT, "cancel", [stray.id])


def read_marks(calls: Calls, codes: Sequence[str]) -> dict[str, tuple[int, OrderMarks | None]]:
    """The party's id and marks, by the party's code. One that a person has deactivated counts as well."""
    everything = {"active_test": False}
    parties = calls.search_read("party.party", [["code", "in", list(codes)]], ["code"], context=everything)
    ids = {one["id"]: one["code"] for one in parties if isinstance(one.get("code"), str)}
    if not ids:
        return {}
    identifiers = calls.search_read(
        "party.identifier", [["party", "in", list(ids)]], ["party", "code"], context=everything
    )
    texts: dict[int, list[object]] = {party_id: [] for party_id in ids}
    for one in identifiers:
        texts.get(one.get("party") or 0, []).append(one.get("code"))
    return {code: (party_id, order_marks.read(texts[party_id])) for party_id, code in ids.items()}


def shipment_of(record: Record) -> Shipment:
    return Shipment(
        id=record["id"],
        state=str(record.get("state")),
        party_id=as_id(record.get("customer")),
        stamp=str(record.get("_timestamp")),
        was_sent=record.get("effective_date") is not None,
    )
