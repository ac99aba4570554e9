"""Which order items a package of Tryton's holds."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders_pipeline.wms.tryton.contents import Move, divide
from orders_pipeline.wms.tryton.order_marks import MarkedLine

CUP, PLATE, BOWL = 1, 2, 3
# Two items of one product, and one of another.
LINES = (MarkedLine("A", 10, CUP, 2), MarkedLine("B", 11, CUP, 3), MarkedLine("C", 12, PLATE, 1))


def _move(move_id: int, product: int, quantity: int) -> Move:
    return Move(move_id, 1, product, quantity, None)


@pytest.mark.parametrize(
    ("moves", "expected"),
    [
        ([_move(10, CUP, 2), _move(11, CUP, 3)], {10: {"A": 2}, 11: {"B": 3}}),
        # Of A only one was there: B's three stay B's.
        ([_move(10, CUP, 1), _move(11, CUP, 3)], {10: {"A": 1}, 11: {"B": 3}}),
        # B was split for a second package.
        ([_move(10, CUP, 2), _move(11, CUP, 1), _move(20, CUP, 2)], {10: {"A": 2}, 11: {"B": 1}, 20: {"B": 2}}),
        # A copy of a shipment that was voided: all moves are new.
        ([_move(20, CUP, 5), _move(21, PLATE, 1)], {20: {"A": 2, "B": 3}, 21: {"C": 1}}),
        # More than was ordered is told as it is, and what was never ordered is of no item.
        ([_move(20, CUP, 7), _move(21, BOWL, 1)], {20: {"A": 2, "B": 5}, 21: {}}),
    ],
)
def test_each_move_is_of_an_order_item(moves: list[Move], expected: dict[int, dict[str, int]]):
    assert divide(LINES, moves) == expected


@given(
    st.lists(st.tuples(st.integers(1, 30), st.sampled_from([CUP, PLATE]), st.integers(1, 9)), unique_by=lambda m: m[0])
)
def test_every_piece_is_told_once(found: list[tuple[int, int, int]]):
    moves = [_move(*one) for one in found]
    told = sum(divide(LINES, moves).values(), Counter[str]())
    assert told.total() == sum(move.quantity for move in moves)
