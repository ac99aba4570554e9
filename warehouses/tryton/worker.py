"""A person who works in the warehouse, through Tryton's own API and as a user of her own.

She follows Tryton's states: waiting, assigned, picked, packed, shipped, done. What the sandbox's warehouse does and
Tryton knows in another way:

- *short*: she picks less than was asked for; the outgoing move shrinks to what was picked, or goes. Nothing else tells.
- *several packages*: packages of one shipment leave together, with one carrier. What leaves later is a shipment of its
  own (`split`), with the same reference.
- *void*: a package has no such state. She cancels the shipment, done or not, with all its packages, whose moves Tryton
  then takes out of them. It can be set back to draft, but its moves stay cancelled: what is sent instead is a copy of
  it, with packages of its own, and the same reference where she types it in (`void`, `send_again`).
- *a new label on the same box* (`relabel`): another `shipping_reference` on the same package, at any time.
- *hold*: there is none. A shipment that nobody assigns stays `waiting`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from warehouses.tryton import master_data
from warehouses.tryton.rpc import Record, TrytonRpc

SHIPMENT = "stock.shipment.out"
OPEN_STATES = ("draft", "waiting", "assigned", "picked", "packed")
SENT_STATES = ("shipped", "done")
# What leads on from each state.
_BUTTONS = {"draft": "wait", "waiting": "assign_try", "picked": "pack", "packed": "ship", "shipped": "do"}


class NotPossible(Exception):
    """The order is not in a state in which the worker could do that; the message says which it is in."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """One box: units by SKU, and its label."""

    lines: Mapping[str, int]
    tracking: str


@dataclass(frozen=True, slots=True)
class Shipment:
    """One customer shipment as Tryton has it; `units`: of its outgoing moves, by SKU.

    `is_ready`: for her to work on. A draft that she has not touched is still being written by somebody else.
    """

    id: int
    number: str | None
    state: str
    units: Mapping[str, int]
    is_ready: bool


class TrytonWorker:
    """Each method names the order by its reference, and means its shipments that are not cancelled."""

    def __init__(self, rpc: TrytonRpc) -> None:
        self._rpc = rpc
        # What a person knows by heart.
        self._carriers: dict[tuple[str, str | None], int] = {}
        self._boxes: list[int] = []

    def shipments(self, order_ref: str) -> list[Shipment]:
        """All of this reference, the oldest first."""
        fields = ["number", "state", "create_uid", "write_uid"]
        found = self._rpc.search(SHIPMENT, [("reference", "=", order_ref)], fields, order=[("id", "ASC")])
        units: dict[int, Counter[str]] = {one["id"]: Counter() for one in found}
        for move in self._outgoing([one["id"] for one in found]):
            units[_id_of(move["shipment"])][move["product."]["code"]] += int(move["quantity"])
        return [
            Shipment(one["id"], one["number"], one["state"], units[one["id"]], self._is_ready(one)) for one in found
        ]

    def has(self, order_ref: str, states: Sequence[str]) -> bool:
        """Whether there is something to work on in one of these states."""
        return any(one.state in states and one.is_ready for one in self.shipments(order_ref))

    def start_packing(self, order_ref: str, missing: Mapping[str, int] | None = None) -> None:
        """Take it from the shelves, but for what is missing there (units by SKU). Raises NotPossible."""
        shipment = self._one(order_ref, ("draft", "waiting", "assigned", "picked"))
        state = self._advance(shipment.id, "assigned", ("draft", "waiting"), missing or {})
        if state == "assigned":
            self._rpc.press(SHIPMENT, "pick", [shipment.id])

    def pick_what_is_there(self, order_ref: str) -> dict[str, int]:
        """Pick what the stock allows; the units by SKU that are missing. Raises NotPossible where nothing is there."""
        shipment = self._one(order_ref, ("draft", "waiting"))
        missing: Counter[str] = Counter()
        try:
            self._advance(shipment.id, "assigned", ("draft", "waiting"), {})
        except NotPossible:
            for move in self._inventory(shipment.id):
                if move["state"] == "draft":
                    missing[move["product."]["code"]] += int(move["quantity"])
        if missing == Counter(shipment.units):
            raise NotPossible(f"{order_ref}: nothing of it is in stock")
        self.start_packing(order_ref, missing)
        return dict(missing)

    def ship(
        self, order_ref: str, parcels: Sequence[Parcel] | None = None, *, carrier: str = "UPS",
        service: str | None = None, tracking: str | None = None,
    ) -> list[str]:  # fmt: skip
        """Pack these parcels (or all that was picked in one) and send them; the packages' numbers.

        May be called again after it failed in the middle: each step is done once.
        """
        shipment = self._one(order_ref, OPEN_STATES)
        if shipment.state in ("draft", "waiting", "assigned"):
            self.start_packing(order_ref)
            shipment = self._one(order_ref, ("picked",))
        reference = f"{SHIPMENT},{shipment.id}"
        if shipment.state == "picked":
            self._rpc.write(SHIPMENT, [shipment.id], {"carrier": self._carrier(carrier, service)})
            whole = Parcel({sku: units for sku, units in shipment.units.items() if units}, tracking or "")
            self._pack(reference, parcels or [whole])
        self._advance(shipment.id, "done", ("picked", "packed", "shipped"), {})
        packages = self._rpc.search("stock.package", [("shipment", "=", reference)], ["number"], order=[("id", "ASC")])
        return [one["number"] for one in packages]

    def finish(self, order_ref: str) -> None:
        """Note of what has left that it is done."""
        left = [one.id for one in self.shipments(order_ref) if one.state == "shipped"]
        if left:
            self._rpc.press(SHIPMENT, "do", left)

    def packages(self, order_ref: str) -> list[str]:
        """The numbers of the packages that are packed or have left, the oldest first."""
        living = [f"{SHIPMENT},{one.id}" for one in self.shipments(order_ref) if one.state != "cancelled"]
        found = self._rpc.search("stock.package", [("shipment", "in", living)], ["number"], order=[("id", "ASC")])
        return [one["number"] for one in found]

    def split(self, order_ref: str, lines: Mapping[str, int]) -> None:
        """Leave these units (whole lines, by SKU) for a second shipment of the same reference.

        May be called again after it failed in the middle.
        """
        whole = [one for one in self.shipments(order_ref) if one.is_ready and set(lines) < set(one.units)]
        for shipment in whole:
            if shipment.state == "assigned":
                self._rpc.press(SHIPMENT, "wait", [shipment.id])
            self._rpc.press(SHIPMENT, "draft", [shipment.id])
            moves = [move["id"] for move in self._outgoing([shipment.id]) if move["product."]["code"] in lines]
            form = {"moves": moves, "domain_moves": moves}
            self._rpc.wizard("stock.shipment.split", SHIPMENT, [shipment.id], start=(form, "split"))
        drafts = [one.id for one in self.shipments(order_ref) if one.state == "draft" and one.is_ready]
        if drafts:
            self._rpc.press(SHIPMENT, "wait", drafts)

    def void(self, order_ref: str) -> None:
        """The newest shipment that was sent will not travel: it is cancelled, with all its packages."""
        self._rpc.press(SHIPMENT, "cancel", [self._one(order_ref, SENT_STATES).id])

    def send_again(self, order_ref: str) -> None:
        """A copy of the newest shipment that was cancelled, for `ship` to send."""
        # Tryton leaves the reference out of a copy: whoever copies types it in.
        self._rpc.call(f"model.{SHIPMENT}.copy", [self._cancelled(order_ref)], {"reference": order_ref})

    def relabel(self, order_ref: str, package_number: str, tracking: str) -> None:
        """The same box travels under another label."""
        self._one(order_ref, ("picked", "packed", *SENT_STATES))
        packages = self._rpc.search("stock.package", [("number", "=", package_number)], ["id"])
        self._rpc.write("stock.package", [one["id"] for one in packages], {"shipping_reference": tracking})

    def cancel(self, order_ref: str) -> None:
        """Somebody in the warehouse stops what has not left."""
        self._rpc.press(SHIPMENT, "cancel", [self._one(order_ref, OPEN_STATES).id])

    def count_stock(self, counts: Mapping[str, int]) -> None:
        """What a stock-taking finds: units by SKU."""
        master_data.count_stock(self._rpc, dict(counts))

    def stock(self, sku: str) -> int:
        """The units of a SKU that lie in the storage zone, in whatever state of being asked for."""
        context = {"locations": [master_data.storage_zone(self._rpc)], "stock_date_end": None, "with_childs": True}
        (product,) = self._rpc.search("product.product", [("code", "=", sku)], ["id"])
        return int(self._rpc.read("product.product", [product["id"]], ["quantity"], **context)[0]["quantity"])

    def _advance(self, shipment: int, end: str, states: Sequence[str], missing: Mapping[str, int]) -> str:
        """Press the button of each of these states, as long as the shipment is in one; the state that it reaches."""
        state = self._state(shipment)
        while state in states:
            if missing and state == "waiting":
                self._leave_on_the_shelf(shipment, missing)
            self._rpc.press(SHIPMENT, _BUTTONS[state], [shipment])
            before, state = state, self._state(shipment)
            if state == before:
                raise NotPossible(f"shipment {shipment} stays {state}: the stock does not suffice for {end}")
        return state

    def _pack(self, reference: str, parcels: Sequence[Parcel]) -> None:
        """Put the moves into boxes, all of them or none."""
        if self._rpc.search("stock.package", [("shipment", "=", reference)], ["id"]):
            return  # an earlier attempt has done it
        shipment, taken = _id_of(reference), set[int]()
        values: list[Record] = []
        for parcel in parcels:
            moves = [self._part(shipment, sku, units, taken) for sku, units in parcel.lines.items()]
            label: Record = {"shipment": reference, "type": self._box(), "shipping_reference": parcel.tracking}
            values.append({**label, "moves": [("add", moves)]})
        self._rpc.create("stock.package", *values)

    def _part(self, shipment: int, sku: str, units: int, taken: set[int]) -> int:
        """An outgoing move of exactly so many units that no parcel has taken; a larger one is split."""
        free = [
            move
            for move in self._outgoing([shipment])
            if move["product."]["code"] == sku and move["id"] not in taken and move["quantity"] >= units
        ]
        if not free:
            raise NotPossible(f"shipment {shipment} has no {units} free units of {sku}")
        move = min(free, key=lambda one: one["quantity"])
        if move["quantity"] > units:
            form = {"quantity": float(units), "unit": move["unit"], "count": 1}
            self._rpc.wizard("stock.move.split", "stock.move", [move["id"]], start=(form, "split"))
        taken.add(move["id"])
        return move["id"]

    def _leave_on_the_shelf(self, shipment: int, missing: Mapping[str, int]) -> None:
        """Have so many units fewer picked than the outgoing moves ask for."""
        wanted: Counter[str] = Counter()
        for move in self._outgoing([shipment]):
            wanted[move["product."]["code"]] += int(move["quantity"])
        left = Counter({sku: wanted[sku] - missing.get(sku, 0) for sku in wanted})
        # What Tryton has found already comes first: it can't be changed any more.
        for move in sorted(self._inventory(shipment), key=lambda one: one["state"] == "draft"):
            sku = move["product."]["code"]
            units = min(int(move["quantity"]), left[sku])
            left[sku] -= units
            if units < move["quantity"]:
                self._rpc.write("stock.move", [move["id"]], {"quantity": float(units)})

    def _outgoing(self, shipments: Sequence[int]) -> list[Record]:
        return self._moves(shipments, ("to_location.type", "=", "customer"))

    def _inventory(self, shipment: int) -> list[Record]:
        return self._moves([shipment], ("to_location.type", "=", "storage"))

    def _moves(self, shipments: Sequence[int], which: object) -> list[Record]:
        domain = [("shipment", "in", [f"{SHIPMENT},{one}" for one in shipments]), which, ("state", "!=", "cancelled")]
        fields = ["shipment", "product.code", "quantity", "unit", "package", "state"]
        return self._rpc.search("stock.move", domain, fields, order=[("id", "ASC")]) if shipments else []

    def _is_ready(self, shipment: Record) -> bool:
        return shipment["state"] != "draft" or self._rpc.user_id in (shipment["create_uid"], shipment["write_uid"])

    def _carrier(self, name: str, service: str | None) -> int:
        known = self._carriers.get((name, service))
        if known is None:
            known = self._carriers[name, service] = master_data.carrier(self._rpc, name, service)
        return known

    def _box(self) -> int:
        if not self._boxes:
            self._boxes = [one["id"] for one in self._rpc.search("stock.package.type", [("name", "=", "Box")], ["id"])]
        return self._boxes[0]

    def _cancelled(self, order_ref: str) -> int:
        self._one(order_ref, ("cancelled",))
        return [one.id for one in self.shipments(order_ref) if one.state == "cancelled"][-1]

    def _state(self, shipment: int) -> str:
        return self._rpc.read(SHIPMENT, [shipment], ["state"])[0]["state"]

    def _one(self, order_ref: str, states: Sequence[str]) -> Shipment:
        """The newest sent one, or the oldest of the others, that is in one of these states."""
        known = self.shipments(order_ref)
        found = [one for one in known if one.state in states and one.is_ready]
        if not found:
            raise NotPossible(f"{order_ref} is {', '.join(one.state for one in known) or 'not here'}")
        return found[-1] if found[-1].state in SENT_STATES else found[0]


def _id_of(reference: str) -> int:
    """Of `stock.shipment.out,12`."""
    return int(reference.rpartition(",")[2])
