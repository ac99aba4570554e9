"""An order as Tryton has it: the party that stands for its buyer, and its shipments.

Shipments carry the order's id as their reference, which Tryton does not keep unique: a person splits one, or copies one
that was cancelled. Those that belong to the order's own party are ours.

A person may also merge two parties, such as those of a buyer who ordered twice. Then one has the shipments, the
addresses and the marks of both, and the other one, with its code, names it as `replaced_by`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from orders_pipeline.wms.tryton import order_marks
from orders_pipeline.wms.tryton.calls import Calls, Record, as_id
from orders_pipeline.wms.tryton.errors import Changed, NotDone
from orders_pipeline.wms.tryton.order_marks import OrderMarks, order_of_code, party_code

SHIPMENT = "stock.shipment.out"
SENT = frozenset({"shipped", "done"})
PACKING = frozenset({"picked", "packed"})
CANCELLED = "cancelled"
DRAFT = "draft"
_FIELDS = ["state", "customer", "customer.code", "reference", "effective_date", "_timestamp"]
# Also what somebody has deactivated.
EVERYTHING = {"active_test": False}
_AMAZONS_ID = re.compile(r"[0-9]{3}-[0-9]{7}-[0-9]{7}")


@dataclass(frozen=True, slots=True)
class Shipment:
    """`stamp` is Tryton's `_timestamp`: it changes with the record. `day`: its effective date, if it has one."""

    id: int
    state: str
    party_id: int | None
    stamp: str
    day: object

    @property
    def is_cancelled(self) -> bool:
        return self.state == CANCELLED


@dataclass(frozen=True, slots=True)
class OrderAtTryton:
    """`shipments`: the order's own, the oldest first. `marks` is None where somebody took them away.

    `parties`: the order's own party, and those into which it was merged, the one that has its data last.
    """

    parties: tuple[int, ...]
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
    records = calls.search_read(SHIPMENT, domain, _FIELDS, order=[("id", "ASC")])
    parties = _parties(calls, order_ref)
    marks = read_marks(calls, parties[-1:])[parties[-1]] if parties else {}
    pushed = marks[order_ref].shipment_id if order_ref in marks else None
    if pushed is not None and all(one["id"] != pushed for one in records):
        # Its reference was changed before it was handed over.
        records += calls.search_read(SHIPMENT, [["id", "=", pushed]], _FIELDS)
    with_party = {pushed, *(one["id"] for one in records if as_id(one.get("customer")) in parties)}
    of_order = {one["id"] for one in records if one["id"] in with_party and order_of(one, marks) == order_ref}
    ours = tuple(shipment_of(one) for one in records if one["id"] in of_order)
    rest = [shipment_of(one) for one in records if one["id"] not in of_order]
    strays = tuple(one for one in rest if one.party_id == nobody and one.state == DRAFT)
    others = tuple(one for one in rest if one.party_id != nobody)
    return Found(OrderAtTryton(parties, marks.get(order_ref), ours) if parties else None, strays, others)


def order_of(shipment: Record, marks: Mapping[str, OrderMarks]) -> str | None:
    """Whose shipment it is, of the orders of its party; None where that cannot be told. `marks`: of its party.

    `shipment` has `reference` and `customer.code`.
    """
    for order_ref, marked in marks.items():
        if marked.shipment_id == shipment["id"]:
            return order_ref
    reference, own = shipment.get("reference"), order_of_code((shipment.get("customer.") or {}).get("code"))
    if reference in marks or reference == own:
        return reference
    is_merged = any(order_ref != own for order_ref in marks)
    is_anothers = isinstance(reference, str) and _AMAZONS_ID.fullmatch(reference) is not None
    return None if is_merged or is_anothers else own


def take_away(calls: Calls, strays: Iterable[Shipment]) -> None:
    """Cancel drafts for nobody, so that whoever looks for the order's id finds the one that is at work.

    One that stays does no harm, and the next call about its order tries again.
    """
    for stray in strays:
        with suppress(NotDone, Changed):
            calls.write(SHIPMENT, [stray.id], {"reference": None}, unchanged_since={stray.id: stray.stamp})
            calls.do(SHIPMENT, "cancel", [stray.id])


def read_marks(calls: Calls, parties: Sequence[int]) -> dict[int, dict[str, OrderMarks]]:
    """The marks of each of these parties, by their order; of most parties one order's."""
    domain = [["party", "in", list(parties)]]
    codes: dict[int, list[object]] = {party: [] for party in parties}
    for one in calls.search_read("party.identifier", domain, ["party", "code"], context=EVERYTHING):
        codes.get(one.get("party") or 0, []).append(one.get("code"))
    return {party: order_marks.read(texts) for party, texts in codes.items()}


def sent_before(calls: Calls, cancelled: Mapping[int, object]) -> set[int]:
    """Of cancelled shipments those that were sent before. `cancelled`: their effective dates, by their ids.

    Tryton notes the day when a shipment is done; of one that was cancelled before that, its log says whether it left.
    """
    unclear = [f"{SHIPMENT},{one}" for one, day in cancelled.items() if day is None]
    sent = {one for one, day in cancelled.items() if day is not None}
    if unclear:
        shipped = [["event", "=", "transition"], ["target", "=", "state:shipped"]]
        logged = calls.search_read("ir.model.log", [["resource", "in", unclear], *shipped], ["resource"])
        sent |= {int(str(one.get("resource")).rpartition(",")[2]) for one in logged}
    return sent


def _parties(calls: Calls, order_ref: str) -> tuple[int, ...]:
    """The order's party, and those into which it was merged, one after another."""
    parties: list[int] = []
    domain = ["code", "=", party_code(order_ref)]
    while found := calls.search_read("party.party", [domain], ["replaced_by"], limit=1, context=EVERYTHING):
        parties.append(found[0]["id"])
        merged_into = as_id(found[0].get("replaced_by"))
        if merged_into is None or merged_into in parties:
            break
        domain = ["id", "=", merged_into]
    return tuple(parties)


def shipment_of(record: Record) -> Shipment:
    return Shipment(
        id=record["id"],
        state=str(record.get("state")),
        party_id=as_id(record.get("customer")),
        stamp=str(record.get("_timestamp")),
        day=record.get("effective_date"),
    )
