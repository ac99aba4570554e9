"""The guarded UI as a process of its own: what `orders-pipeline up` starts, and `orders-pipeline web` is."""

from __future__ import annotations

from pathlib import Path

from orders_pipeline.operations.deployment import FollowingDeployment
from orders_pipeline.operations.metrics.scrape import Scraper
from orders_pipeline.settings import load_settings, project_root
from orders_pipeline.web.access import Listening, open_access
from orders_pipeline.web.authorize import Authorize
from orders_pipeline.web.board.routes import Board
from orders_pipeline.web.journal import AuditJournal
from orders_pipeline.web.metrics import Metrics
from orders_pipeline.web.server import serve_ui
from orders_pipeline.web.webhooks import Webhooks


def serve_web(*, host: str | None, port: int, workspace: Path | None, read_only: bool) -> None:
    """Serve until SIGTERM or SIGINT. Raises SettingsError, UsersFileError or SessionKeyError."""
    settings = load_settings()
    settings.require_servable()
    listening = Listening(host or settings.web.listen, port)
    deployment = FollowingDeployment(settings)
    journal = AuditJournal(deployment)
    access = open_access(settings.web, listening, settings.data_dir)
    serve_ui(
        settings.web,
        access,
        journal,
        Webhooks(deployment, journal),
        Metrics(Scraper(settings, account_ids=deployment.account_ids).read),
        Board(deployment),
        Authorize(deployment, access),
        listening,
        workspace or project_root() / "workspace.yaml",
        read_only=read_only,
    )
