"""What Tryton's server answers with status 200 in place of a result. None of these leaves this folder.

A message of Tryton's is in the language of the user and may hold a name or a street; it is dropped where it arrives.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from orders_pipeline.wms.port import WarehouseForbidden, WarehouseUnavailable


class NotDone(Exception):
    """A rule of Tryton's, or of one of its modules, forbids it: nothing was done. Asking again cannot help."""


class Changed(Exception):
    """The record was changed by somebody else since it was read: nothing was done."""


class Warned(Exception):
    """Tryton asks whether that is really meant; nothing was done. `name` is what an answer to the question names."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__()


@contextmanager
def translated(action: str) -> Generator[None]:
    """What Tryton answered in place of a result, where nothing here could make sense of it, as the port's errors."""
    try:
        yield
    except NotDone:
        raise WarehouseForbidden(
            f"Tryton refused to {action}: its user may lack a right (docs/tryton.md has them).", status=403
        ) from None
    except (Changed, Warned):
        raise WarehouseUnavailable(
            f"Somebody else works on the same record in Tryton ({action}).", status=200
        ) from None
