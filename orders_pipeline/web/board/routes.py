"""Everything under /board and /api, for the web port."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.routing import BaseRoute

from orders_pipeline.operations.deployment import Deployment
from orders_pipeline.web.board.actions import BoardActions
from orders_pipeline.web.board.api import OrdersApi
from orders_pipeline.web.board.files import StaticFiles
from orders_pipeline.web.board.pages import BoardPages
from orders_pipeline.web.board.rendering import Pages
from orders_pipeline.web.board.store import BoardStore


class Board:
    """The order board and its API over one deployment."""

    def __init__(self, deployment: Deployment) -> None:
        static = StaticFiles()
        self._pages = Pages(static)
        self._store = BoardStore(deployment)
        self._board = BoardPages(self._store, static, self._pages)

    def routes(self) -> Sequence[BaseRoute]:
        actions = BoardActions(self._store, self._board, self._pages)
        return [*self._board.routes(), *actions.routes(), *OrdersApi(self._store, self._pages).routes()]
