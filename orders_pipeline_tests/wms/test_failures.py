"""What each failure of the warehouse leads to, as a table."""

from __future__ import annotations

import pytest

from orders_pipeline.wms.failures import FORBIDDEN_POLICY, WAREHOUSE_FAILURES
from orders_pipeline.wms.port import (
    WarehouseError,
    WarehouseForbidden,
    WarehouseRefused,
    WarehouseUnauthorized,
    WarehouseUnavailable,
)
from orders_pipeline.work.runner import Park, Refused

ONE_ORDER, ALL_AT_ONCE, PARKED = "counts against the order", "pauses the warehouse", "parks the job"


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (WarehouseUnauthorized, 401, ALL_AT_ONCE),
        (WarehouseUnavailable, 429, ALL_AT_ONCE),
        (WarehouseForbidden, 403, ONE_ORDER),
        (WarehouseUnavailable, None, ONE_ORDER),
        (WarehouseUnavailable, 500, ONE_ORDER),
        (WarehouseUnavailable, 503, ONE_ORDER),
        (WarehouseUnavailable, 302, ONE_ORDER),
        (WarehouseUnavailable, 404, ONE_ORDER),
        (WarehouseUnavailable, 200, ONE_ORDER),
        (WarehouseRefused, 400, PARKED),
        (WarehouseRefused, 413, PARKED),
        (WarehouseRefused, 200, PARKED),
    ],
)
def test_each_failure_of_the_warehouse_has_its_answer(error: type[WarehouseError], status: int | None, expected: str):
    answer = WAREHOUSE_FAILURES.answer(error("no text of theirs", status=status))
    match answer:
        case Refused():
            assert answer.dependency == "warehouse"
            assert expected == (ALL_AT_ONCE if answer.whole else ONE_ORDER)
            assert answer.policy is (FORBIDDEN_POLICY if status == 403 else None)
        case Park():
            assert expected == PARKED
        case _:
            raise AssertionError(answer)


def test_every_error_of_the_port_has_a_rule():
    for kind in WarehouseError.__subclasses__():
        assert WAREHOUSE_FAILURES.rule_of(kind("")) is not None, kind
