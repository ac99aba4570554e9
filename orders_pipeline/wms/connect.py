"""Open the warehouse that the settings name."""

from __future__ import annotations

from importlib import import_module

from orders_pipeline.settings import SettingsError, WarehouseSettings
from orders_pipeline.wms.port import WarehousePort


def open_warehouse(settings: WarehouseSettings) -> WarehousePort:
    """The warehouse's client; of an adapter of one's own, what its `package.module:name` makes of the settings.

    Raises SettingsError for one that is not there. Opening calls nobody.
    """
    match settings.adapter:
        case "rest":
            from orders_pipeline.wms.rest.adapter import RestWarehouse

            return RestWarehouse(settings.base_url, settings.token, webhook_secrets=settings.webhook_secrets)
        case "tryton":
            from orders_pipeline.wms.tryton.adapter import TrytonWarehouse

            return TrytonWarehouse(settings.base_url, settings.token)
        case _:
            return _open_own(settings)


def _open_own(settings: WarehouseSettings) -> WarehousePort:
    module, _, name = settings.adapter.partition(":")
    try:
        open_adapter = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SettingsError((f"WMS_ADAPTER={settings.adapter} cannot be imported: {error}",)) from None
    return open_adapter(settings)
