"""What is missing in Tryton is said with what to do about it, and is no order's fault."""

from __future__ import annotations

from contextlib import closing
from types import SimpleNamespace
from typing import cast

import pytest
from pydantic import SecretStr

from orders_pipeline.operations import doctor
from orders_pipeline.operations.deployment import Deployment
from orders_pipeline.wms.port import WarehouseForbidden, WarehouseUnauthorized, WarehouseUnavailable
from orders_pipeline.wms.tryton.adapter import TrytonWarehouse
from orders_pipeline_tests.wms.tryton.floor import Floor, an_order
from warehouses.tryton import master_data


def _user(floor: Floor, login: str, *groups: str) -> SecretStr:
    rpc = floor.server.rpc(master_data.ADMINISTRATOR)
    known = {one["name"]: one["id"] for one in rpc.search("res.group", [], ["name"])}
    (someone,) = rpc.search("res.user", [("login", "=", "pipeline")], ["company"])
    values = {
        "name": login,
        "login": login,
        "password": "sandbox-password",
        "companies": [("add", [someone["company"]])],
        "company": someone["company"],
        "groups": [("add", [known[name] for name in groups])],
    }
    rpc.create("res.user", values)
    return SecretStr(f"{login}:sandbox-password")


def test_a_user_who_lacks_a_right_is_told_which(floor: Floor):
    warehouse = TrytonWarehouse(floor.server.url, _user(floor, "nobody", "Party Administration"))
    for call in (lambda: warehouse.push(an_order(("CUP", 1))), lambda: warehouse.poll(None, 1)):
        with pytest.raises(WarehouseForbidden, match=r"the user may not (read|write|create) stock"):
            call()
    warehouse.close()


def test_doctor_says_what_tryton_can_and_what_is_to_be_set_up(floor: Floor):
    with closing(floor.warehouse()) as warehouse:
        good = doctor._warehouse(cast(Deployment, SimpleNamespace(warehouse=warehouse)))
    assert good.ok
    assert "cancel" in good.detail
    assert "hold" in good.detail.partition("a person is asked")[2]
    with closing(TrytonWarehouse(floor.server.url, _user(floor, "visitor"))) as warehouse:
        bad = doctor._warehouse(cast(Deployment, SimpleNamespace(warehouse=warehouse)))
    assert not bad.ok
    assert "Tryton is not set up for this: the user may not" in bad.what_to_do


def test_the_group_of_the_documentation_is_enough(floor: Floor):
    warehouse = TrytonWarehouse(floor.server.url, _user(floor, "stockist", "Stock"))
    order = an_order(("CUP", 1))
    assert warehouse.push(order).answer == "accepted"
    assert warehouse.cancel(order.order_ref, "not wanted") == "cancelled"
    assert warehouse.erase_pii(order.order_ref)
    warehouse.poll(None, 200)
    warehouse.read_stock(None, 10)
    warehouse.close()


def test_the_party_of_all_orders_may_be_deactivated(floor: Floor, warehouse: TrytonWarehouse):
    warehouse.push(an_order(("CUP", 1)))
    rpc = floor.server.rpc()
    (nobody,) = rpc.search("party.party", [("code", "=", "amazon-orders")], ["addresses"])
    rpc.write("party.address", nobody["addresses"], {"active": False})
    rpc.write("party.party", [nobody["id"]], {"active": False})
    order = an_order(("CUP", 1))
    with closing(floor.warehouse()) as fresh:
        assert fresh.push(order).answer == "accepted"
    assert floor.states(order.order_ref) == ["waiting"]
    rpc.write("party.party", [nobody["id"]], {"active": True})
    rpc.write("party.address", nobody["addresses"], {"active": True})


def test_a_wrong_password_and_a_wrong_database_are_told_apart(floor: Floor):
    wrong = TrytonWarehouse(floor.server.url, SecretStr("pipeline:wrong"))
    with pytest.raises(WarehouseUnauthorized, match="WMS_TOKEN"):
        wrong.poll(None, 1)
    wrong.close()
    elsewhere = TrytonWarehouse(f"{floor.server.url}-not-there", SecretStr(floor.server.token))
    with pytest.raises(WarehouseUnavailable, match="WMS_BASE_URL"):
        elsewhere.poll(None, 1)
    elsewhere.close()
