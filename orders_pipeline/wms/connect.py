"""Open the warehouse that the settings name."""

from __future__ import annotations

from orders_pipeline.settings import SettingsError, WarehouseSettings
from orders_pipeline.wms.rest.adapter import RestWarehouse


def open_warehouse(settings: WarehouseSettings) -> RestWarehouse:
    """The warehouse's client. Raises SettingsError for an adapter that this release does not have."""
    if settings.adapter != "rest":
        raise SettingsError((f"WMS_ADAPTER={settings.adapter} is not in this release: use rest",))
    return RestWarehouse(settings.base_url, settings.token)
