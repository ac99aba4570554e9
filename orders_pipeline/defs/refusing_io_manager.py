"""An IO manager that refuses: assets here return metadata, never data.

Without it an asset that returns a value by mistake would have it pickled, in clear, into DAGSTER_HOME.
"""

from __future__ import annotations

from typing import NoReturn

import dagster as dg


class RefusingIOManager(dg.ConfigurableIOManager):
    """Raises on every read and write; the store is the only place where data is kept."""

    def handle_output(self, context: dg.OutputContext, obj: object) -> NoReturn:
        raise dg.DagsterInvariantViolationError(
            f"{context.get_identifier()} returned a {type(obj).__name__}: return dg.MaterializeResult, and write data "
            "to the store."
        )

    def load_input(self, context: dg.InputContext) -> NoReturn:
        raise dg.DagsterInvariantViolationError(
            "Assets here read the store, not each other's return values: use deps=[...] instead of an argument."
        )
