"""Which of our orders changed at Tryton after a place, a page at a time, in the order of the changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orders_pipeline.wms.tryton.calls import Calls, Domain, as_id
from orders_pipeline.wms.tryton.cursors import Place
from orders_pipeline.wms.tryton.order_marks import CODE_PREFIX
from orders_pipeline.wms.tryton.orders import CANCELLED, PACKING, SENT, SHIPMENT


def _ours(path: str = "", *model: str) -> Domain:
    """Of a shipment, at the end of this path. The second are those whose party somebody merged with another."""
    amazons_id = "-".join("_" * length for length in (3, 7, 7))
    return [
        "OR",
        [f"{path}customer.code", "like", f"{CODE_PREFIX}%", *model],
        [f"{path}reference", "like", amazons_id, *model],
    ]


OURS = _ours()


@dataclass(frozen=True, slots=True)
class Model:
    """Records of this model, in these states, whose change may be an event of an order. `party`: whose order it is."""

    name: str
    domain: Domain
    party: str


# The index of a model is the `kind` of its changes' places.
MODELS = (
    Model(
        SHIPMENT,
        [["state", "in", sorted({*SENT, *PACKING, CANCELLED})], OURS],
        "customer",
    ),
    # A label that was made or replaced after the shipment left.
    Model(
        "stock.package",
        [["shipment.state", "in", sorted(SENT), SHIPMENT], _ours("shipment.", SHIPMENT)],
        "shipment.customer",
    ),
    # Stock was sought for a shipment and found for some of it only: the shipment itself does not change then.
    Model(
        "stock.move",
        [
            ["state", "=", "assigned"],
            ["shipment.state", "=", "waiting", SHIPMENT],
            _ours("shipment.", SHIPMENT),
        ],
        "shipment.customer",
    ),
)


@dataclass(frozen=True, slots=True)
class Page:
    """The parties whose orders changed, each once; `last`: the place of the last change; `is_whole`: no more follow."""

    parties: tuple[int, ...]
    last: Place | None
    is_whole: bool


def read_changes(calls: Calls, start: Place, limit: int) -> Page:
    found: list[tuple[Place, int]] = []
    is_whole = True
    for kind, model in enumerate(MODELS):
        changes = _changes_of(calls, kind, model, start, limit)
        is_whole = is_whole and len(changes) < limit
        found += changes
    found.sort(key=lambda change: _key(change[0]))
    page = found[:limit]
    parties = dict.fromkeys(party for _, party in page)
    return Page(tuple(parties), page[-1][0] if page else None, is_whole and len(found) <= limit)


def _changes_of(calls: Calls, kind: int, model: Model, start: Place, limit: int) -> list[tuple[Place, int]]:
    records = calls.search_read(
        model.name,
        [*model.domain, _after(start, kind)],
        ["write_date", model.party],
        order=[("write_date", "ASC"), ("id", "ASC")],
        limit=limit,
    )
    changes: list[tuple[Place, int]] = []
    for record in records:
        at, party = record.get("write_date"), _party(record, model.party)
        if isinstance(at, datetime) and party is not None:
            changes.append((Place(at, kind, record["id"]), party))
    return changes


def _after(start: Place, kind: int) -> list[Any]:
    """Later than the place. Of its own moment: the same model's with greater ids, and those of later models."""
    later = ["write_date", ">", start.at]
    if kind < start.kind:
        return later
    if kind > start.kind:
        return ["write_date", ">=", start.at]
    return ["OR", later, [["write_date", "=", start.at], ["id", ">", start.id]]]


def _party(record: dict[str, Any], path: str) -> int | None:
    *parents, name = path.split(".")
    value: Any = record
    for parent in parents:
        value = value.get(f"{parent}.") if isinstance(value, dict) else None
    return as_id(value.get(name)) if isinstance(value, dict) else None


def _key(place: Place) -> tuple[datetime, int, int]:
    return place.at, place.kind, place.id
