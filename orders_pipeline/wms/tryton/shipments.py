"""What happened to an order's packages, as events, read from how Tryton has them now.

An event's id is made of what it says, so that reading the same again gives the same event, and another label or other
contents another one. What was and is no more says nothing here: a package that was deleted, or whose number was taken
away, is not reported as voided. In Tryton one cancels the shipment, or gives the package another number.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any

from orders_pipeline.wms.tryton.calls import Calls, Record, as_id
from orders_pipeline.wms.tryton.changes import OURS
from orders_pipeline.wms.tryton.contents import Move, divide
from orders_pipeline.wms.tryton.order_marks import OrderMarks
from orders_pipeline.wms.tryton.orders import CANCELLED, PACKING, SENT, SHIPMENT, order_of, read_marks, sent_before

# A digest of this length tells two labels of one package apart.
_DIGEST_CHARACTERS = 16


@dataclass(slots=True)
class SeenShipment:
    """A shipment with what is in it. `lacking`: pieces of each product for which no stock was found.

    `was_sent`: before it was cancelled. `zone`: in which Tryton's days begin and end.
    """

    record: Record
    packages: list[Record]
    moves: list[Move]
    lacking: Counter[int]
    was_sent: bool
    zone: tzinfo

    @property
    def id(self) -> int:
        return self.record["id"]

    @property
    def state(self) -> str:
        return str(self.record.get("state"))

    @property
    def created_at(self) -> datetime:
        return _time(self.record.get("create_date"))

    @property
    def changed_at(self) -> datetime:
        return _time(self.record.get("write_date"))

    @property
    def at(self) -> datetime:
        """When it came to its state."""
        at, day = self.changed_at, self.record.get("effective_date")
        # Tryton keeps the day alone. A day long past was entered afterwards.
        if isinstance(day, date) and day + timedelta(days=1) < at.astimezone(self.zone).date():
            return datetime.combine(day, time(23, 59, 59), tzinfo=self.zone).astimezone(UTC)
        return at


Entry = dict[str, Any]


def events_of(calls: Calls, zone: tzinfo, parties: Sequence[int]) -> list[Entry]:
    """Everything that can be said of these parties' orders, in the form of the REST contract's shipment events."""
    if not parties:
        return []
    shipments = _shipments(calls, zone, parties)
    marks = read_marks(calls, parties)
    by_order: dict[tuple[int, str], list[SeenShipment]] = defaultdict(list)
    for one in shipments:
        party = as_id(one.record.get("customer")) or 0
        if (order_ref := order_of(one.record, marks[party])) is not None:
            by_order[party, order_ref].append(one)
    entries: list[Entry] = []
    for (party, order_ref), its in by_order.items():
        entries += _of_order(marks[party].get(order_ref) or OrderMarks(order_ref, 0, ()), its)
    return sorted(entries, key=lambda entry: entry["shipped_at"])


def _of_order(marks: OrderMarks, shipments: Sequence[SeenShipment]) -> list[Entry]:
    order_ref = marks.order_ref
    live = [one for one in shipments if one.state != CANCELLED]
    pieces = divide(marks.lines, [move for one in live for move in one.moves])
    entries: list[Entry] = []
    for one in shipments:
        if one.state in SENT:
            entries += [_shipped(order_ref, one, package, pieces) for package in _outermost(one)]
        elif one.state == CANCELLED and one.was_sent:
            # Of what left in no package Tryton has cancelled the moves.
            entries += [_voided(order_ref, one, package) for package in _outermost(one) or [None]]
    if (short := _short(marks, shipments, pieces)) is not None:
        entries.append(short)
    newest = shipments[-1] if shipments else None
    # What was sent and then cancelled is voided: something else leaves in its place, or the seller is told.
    if newest is not None and not live and not newest.was_sent:
        lines = {line.line_ref: line.quantity for line in marks.lines}
        entries.append(_entry(order_ref, "cancelled", f"{newest.id}-cancelled", newest.at, lines))
    return entries


def _shipped(
    order_ref: str, shipment: SeenShipment, package: Record | None, pieces: Mapping[int, Counter[str]]
) -> Entry:
    package_id = package["id"] if package is not None else None
    lines: Counter[str] = Counter()
    for move in shipment.moves:
        if move.package_id == package_id:
            lines += pieces.get(move.id, Counter())
    carrier = shipment.record.get("carrier.") or {}
    facts = {
        "package_id": _number(shipment, package),
        "carrier": (carrier.get("party.") or {}).get("name"),
        "service": (carrier.get("carrier_product.") or {}).get("name"),
        "tracking_number": package.get("shipping_reference") if package is not None else None,
    }
    event_id = f"{facts['package_id']}-{_digest(package, facts, lines)}"
    return _entry(order_ref, "shipped", event_id, shipment.at, lines, **facts)


def _voided(order_ref: str, shipment: SeenShipment, package: Record | None) -> Entry:
    facts = {
        "package_id": _number(shipment, package),
        "tracking_number": package.get("shipping_reference") if package is not None else None,
    }
    event_id = f"{facts['package_id']}-voided-{_digest(package, facts, {})}"
    return _entry(order_ref, "voided", event_id, shipment.at, {}, **facts)


def _short(
    marks: OrderMarks,
    shipments: Sequence[SeenShipment],
    pieces: Mapping[int, Counter[str]],
) -> Entry | None:
    """Pieces that will not come: picked without them, or sought in vain. None while another shipment may bring them."""
    live = [one for one in shipments if one.state != CANCELLED]
    voided = [one for one in shipments if one.state == CANCELLED and one.was_sent]
    if not live or any(all(other.created_at < one.changed_at for other in live) for one in voided):
        # What replaces a voided one is still to be made.
        return None
    missing: Counter[str] = Counter()
    if all(one.state in SENT | PACKING for one in live):
        missing = Counter({line.line_ref: line.quantity for line in marks.lines})
        for counted in pieces.values():
            missing -= counted
    else:
        lacking = sum((one.lacking for one in live), Counter[int]())
        for line in reversed(marks.lines):
            taken = min(line.quantity, lacking[line.product_id])
            if taken > 0:
                missing[line.line_ref] = taken
                lacking[line.product_id] -= taken
    if not missing:
        return None
    newest = max(live, key=lambda one: one.at)
    return _entry(marks.order_ref, "short", f"{newest.id}-short-{_digest(None, {}, missing)}", newest.at, missing)


def _entry(order_ref: str, kind: str, event_id: str, at: datetime, lines: Mapping[str, int], **facts: Any) -> Entry:
    return {
        "event_id": f"tryton-{event_id}",
        "kind": kind,
        "order_ref": order_ref,
        "package_id": None,
        **facts,
        "shipped_at": at.isoformat(),
        "lines": [{"line_ref": ref, "quantity": quantity} for ref, quantity in sorted(lines.items())],
    }


def _digest(package: Record | None, facts: Mapping[str, Any], lines: Mapping[str, int]) -> str:
    """Of what an event says, and of when the package was changed: a label may be given back that was replaced."""
    changed = (package.get("write_date") or package.get("create_date")) if package is not None else None
    said = json.dumps([str(changed), facts, sorted(lines.items())], sort_keys=True, default=str)
    return hashlib.sha256(said.encode("utf-8", errors="surrogatepass")).hexdigest()[:_DIGEST_CHARACTERS]


def _outermost(shipment: SeenShipment) -> list[Record | None]:
    """The packages that travel; None for what left in no package at all."""
    packages: list[Record | None] = [one for one in shipment.packages if one.get("parent") is None]
    loose = any(move.package_id is None for move in shipment.moves)
    return [*packages, None] if loose else packages


def _number(shipment: SeenShipment, package: Record | None) -> str:
    if package is None:
        return f"shipment-{shipment.record.get('number') or shipment.id}"
    return str(package.get("number") or package["id"])


def _shipments(calls: Calls, zone: tzinfo, parties: Sequence[int]) -> list[SeenShipment]:
    fields = [
        "number",
        "state",
        "reference",
        "customer",
        "customer.code",
        "effective_date",
        "write_date",
        "create_date",
    ]
    fields += ["carrier.party.name", "carrier.carrier_product.name"]
    records = calls.search_read(SHIPMENT, [["customer", "in", list(parties)], OURS], fields, order=[("id", "ASC")])
    references = [f"{SHIPMENT},{record['id']}" for record in records]
    if not references:
        return []
    package_fields = ["number", "shipment", "parent", "shipping_reference", "write_date", "create_date"]
    packages = calls.search_read(
        "stock.package", [["shipment", "in", references]], package_fields, order=[("id", "ASC")]
    )
    move_fields = ["shipment", "product", "quantity", "package", "state", "to_location.type"]
    moves = calls.search_read("stock.move", [["shipment", "in", references]], move_fields, order=[("id", "ASC")])
    sent = sent_before(
        calls, {one["id"]: one.get("effective_date") for one in records if one.get("state") == CANCELLED}
    )
    return [_seen(record, packages, moves, zone, was_sent=record["id"] in sent) for record in records]


def _seen(
    record: Record, packages: Iterable[Record], moves: Iterable[Record], zone: tzinfo, *, was_sent: bool
) -> SeenShipment:
    reference = f"{SHIPMENT},{record['id']}"
    inside = [one for one in packages if one.get("shipment") == reference]
    parents = {one["id"]: as_id(one.get("parent")) for one in inside}
    outgoing: list[Move] = []
    found, sought = False, Counter[int]()
    for move in moves:
        product, quantity = as_id(move.get("product")), _pieces(move.get("quantity"))
        if move.get("shipment") != reference or product is None or quantity < 1 or move.get("state") == CANCELLED:
            continue
        if (move.get("to_location.") or {}).get("type") == "customer":
            outgoing.append(Move(move["id"], record["id"], product, quantity, _root(move.get("package"), parents)))
        elif move.get("state") == "assigned":
            found = True
        elif move.get("state") == "draft":
            sought[product] += quantity
    lacking = sought if found and record.get("state") == "waiting" else Counter[int]()
    return SeenShipment(record, inside, outgoing, lacking, was_sent, zone)


def _root(package: object, parents: Mapping[int, int | None]) -> int | None:
    """The outermost package around this one."""
    current = as_id(package)
    for _ in range(len(parents)):
        around = parents.get(current) if current is not None else None
        if around is None:
            break
        current = around
    return current


def _time(stamp: object) -> datetime:
    """Tryton's times are UTC, whatever time zone its database or its company has."""
    return stamp if isinstance(stamp, datetime) else datetime.now(UTC)


def _pieces(quantity: object) -> int:
    return int(quantity) if isinstance(quantity, (int, float)) and abs(quantity) < 1e9 else 0
