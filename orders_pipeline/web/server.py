"""The process behind the web port: Dagster's own webserver with our guard as its middleware, and our pages beside it.

Dagster's command line opens the instance and the workspace; only how the finished context is hosted is ours. Whatever
is to be served beside the UI is one more list of routes in `GuardedWebserver.build_routes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn
from dagster_webserver import cli as dagster_cli
from dagster_webserver.webserver import DagsterWebserver
from graphene import Schema
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from orders_pipeline.settings import project_root
from orders_pipeline.web.access import Access, Listening, LoginAccess
from orders_pipeline.web.authorize import Authorize
from orders_pipeline.web.board.routes import Board
from orders_pipeline.web.guard import Guard, GuardRules
from orders_pipeline.web.headers import ui_policy
from orders_pipeline.web.journal import Journal
from orders_pipeline.web.login import Login
from orders_pipeline.web.metrics import Metrics
from orders_pipeline.web.mutations import guard_mutations
from orders_pipeline.web.origins import Origins
from orders_pipeline.web.runbook_pages import RunbookPages
from orders_pipeline.web.webhooks import Webhooks
from orders_pipeline.web_settings import WebSettings

# What dagster_webserver.cli calls with the opened workspace: the seam at which our host takes the place of its own.
_HOSTING = "host_dagster_ui_with_workspace_process_context"
# Browsers hold websockets open; a stop does not wait for them.
_STOP_SECONDS = 3


class GuardedWebserver(DagsterWebserver[Any, Any]):
    """The Dagster UI, behind the guard."""

    def __init__(
        self,
        process_context: Any,
        rules: GuardRules,
        journal: Journal,
        webhooks: Webhooks,
        metrics: Metrics,
        board: Board,
        authorize: Authorize,
        poll_milliseconds: int | None,
    ) -> None:
        self._rules = rules
        self._journal = journal
        self._webhooks = webhooks
        self._metrics = metrics
        self._board = board
        self._authorize = authorize
        super().__init__(process_context, live_data_poll_rate=poll_milliseconds)

    def build_middleware(self) -> list[Middleware]:
        return [Middleware(Guard, rules=self._rules), *super().build_middleware()]

    def build_graphql_schema(self) -> Schema:
        return guard_mutations(super().build_graphql_schema(), self._journal)

    def make_csp_header(self, nonce: str) -> str:
        return ui_policy(nonce)

    def build_routes(self) -> Any:
        runbook = RunbookPages(project_root() / "docs")
        return [*self._own_routes(), *runbook.routes(), *super().build_routes()]

    def _own_routes(self) -> Sequence[BaseRoute]:
        access = self._rules.access
        login = Login(access, self._journal).routes() if isinstance(access, LoginAccess) else []
        own = (self._webhooks, self._metrics, self._board, self._authorize)
        return [*login, *(route for one in own for route in one.routes())]


def serve_ui(
    settings: WebSettings,
    access: Access,
    journal: Journal,
    webhooks: Webhooks,
    metrics: Metrics,
    board: Board,
    authorize: Authorize,
    listening: Listening,
    workspace: Path,
    *,
    read_only: bool,
) -> None:
    """Serve until SIGTERM or SIGINT."""
    rules = GuardRules(
        Origins(settings.hostnames, listening.address),
        access,
        settings.report_token,
        read_only=read_only,
        journal=journal,
        metrics_token=settings.metrics_token,
    )

    def host(context: Any, address: str, port: int, prefix: str, log_level: str, poll: int | None = None) -> None:
        app = GuardedWebserver(context, rules, journal, webhooks, metrics, board, authorize, poll).create_asgi_app()
        uvicorn.run(
            app,
            host=address,
            port=port,
            log_level=log_level,
            # The peer is whoever is at the other end: what an X-Forwarded-For claims decides nothing here.
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_STOP_SECONDS,
        )

    if not hasattr(dagster_cli, _HOSTING):
        raise RuntimeError(f"dagster_webserver.cli.{_HOSTING} is gone: this release of Dagster cannot be guarded")
    setattr(dagster_cli, _HOSTING, host)
    arguments = ["--host", listening.address, "--port", str(listening.port), "-w", str(workspace)]
    dagster_cli.dagster_webserver.main([*arguments, *(["--read-only"] if read_only else [])], standalone_mode=False)
