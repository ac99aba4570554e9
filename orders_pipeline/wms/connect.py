"""Open the warehouse that the settings name."""

from __future__ import annotations

from importlib import import_module

from orders_pipeline.settings import SettingsError, WarehouseSettings
from orders_pipeline.wms.port import WarehousePort

TRYTON = "orders_pipeline.wms.tryton.adapter"


def open_warehouse(settings: WarehouseSettings) -> WarehousePort:
    """The warehouse's client; of an adapter of one's own, what its `package.module:name` makes of the settings.

    Raises SettingsError for one that is not there. Opening calls nobody.
    """
    if settings.adapter == "tryton":
        return _open_tryton(settings)
    if ":" in settings.adapter:
        return _open_own(settings)
    from orders_pipeline.wms.rest.adapter import RestWarehouse

    return RestWarehouse(settings.base_url, settings.token, webhook_secrets=settings.webhook_secrets)


def _open_own(settings: WarehouseSettings) -> WarehousePort:
    module, _, name = settings.adapter.partition(":")
    try:
        open_adapter = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SettingsError((f"WMS_ADAPTER={settings.adapter} cannot be imported: {error}",)) from None
    return open_adapter(settings)


def _open_tryton(settings: WarehouseSettings) -> WarehousePort:
    try:
        module = import_module(TRYTON)
    except ModuleNotFoundError as error:
        if error.name is None or not TRYTON.startswith(error.name):
            raise
        raise SettingsError(("WMS_ADAPTER=tryton is not in this release: use rest",)) from None
    return module.TrytonWarehouse(settings.base_url, settings.token)
