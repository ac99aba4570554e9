"""Which order items a package holds. Tryton knows products; an order may have one in several of its items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orders_pipeline.wms.tryton.order_marks import MarkedLine


@dataclass(frozen=True, slots=True)
class Move:
    """Pieces of a product that leave, or are to leave, for the buyer. `package_id`: the outermost package."""

    id: int
    shipment_id: int
    product_id: int
    quantity: int
    package_id: int | None


def divide(lines: Sequence[MarkedLine], moves: Iterable[Move]) -> dict[int, Counter[str]]:
    """The pieces of each order item in each move, by the move's id.

    A move that we made is its item's. One that Tryton or a person made, by a split or a copy, is of an item of the same
    product that still has pieces to leave, the first one first; what is more than was ordered is the last one's.
    """
    ours = {line.move_id: line for line in lines}
    open_pieces = Counter({line.line_ref: line.quantity for line in lines})
    divided: dict[int, Counter[str]] = {}
    ordered = sorted(moves, key=lambda move: (move.id not in ours, move.id))
    for move in ordered:
        marked = ours.get(move.id)
        same = [marked] if marked is not None else [line for line in lines if line.product_id == move.product_id]
        divided[move.id] = _divide_one(same, move.quantity, open_pieces)
    return divided


def _divide_one(same: Sequence[MarkedLine], quantity: int, open_pieces: Counter[str]) -> Counter[str]:
    pieces: Counter[str] = Counter()
    for place, line in enumerate(same):
        is_last = place == len(same) - 1
        taken = quantity if is_last else min(quantity, max(open_pieces[line.line_ref], 0))
        if taken > 0:
            pieces[line.line_ref] += taken
            open_pieces[line.line_ref] -= taken
            quantity -= taken
    return pieces
