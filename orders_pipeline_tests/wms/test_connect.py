"""The adapter that the settings name is opened, and one that is not there is an error of the settings."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from orders_pipeline.settings import SettingsError, WarehouseSettings
from orders_pipeline.wms.connect import open_warehouse
from orders_pipeline.wms.rest.adapter import RestWarehouse
from orders_pipeline.wms.tryton.adapter import TrytonWarehouse
from orders_pipeline_tests.ports import UnaskedWarehouse


class OwnWarehouse(UnaskedWarehouse):
    """What somebody brings: it is made of the settings."""

    def __init__(self, settings: WarehouseSettings) -> None:
        self.base_url = settings.base_url


def _settings(adapter: str) -> WarehouseSettings:
    return WarehouseSettings(adapter=adapter, base_url="http://127.0.0.1/x", token=SecretStr("user:password"))


@pytest.mark.parametrize(
    ("adapter", "kind"),
    [("rest", RestWarehouse), ("tryton", TrytonWarehouse), (f"{__name__}:OwnWarehouse", OwnWarehouse)],
)
def test_the_adapter_that_is_named_is_opened(adapter: str, kind: type):
    opened = open_warehouse(_settings(adapter))
    assert type(opened) is kind
    opened.close()


def test_an_adapter_of_ones_own_is_given_the_settings():
    opened = open_warehouse(_settings(f"{__name__}:OwnWarehouse"))
    assert isinstance(opened, OwnWarehouse)
    assert opened.base_url == "http://127.0.0.1/x"


@pytest.mark.parametrize("adapter", ["nowhere.at_all:made", f"{__name__}:NoSuchName"])
def test_an_adapter_that_is_not_there_is_an_error_of_the_settings(adapter: str):
    with pytest.raises(SettingsError, match=f"WMS_ADAPTER={adapter} cannot be imported"):
        open_warehouse(_settings(adapter))
