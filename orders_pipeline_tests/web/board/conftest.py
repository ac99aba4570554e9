"""One shop, one server and one browser a module: a test uses orders of its own where it changes them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser
from sqlalchemy import Engine

from orders_pipeline.database.embedded import EmbeddedPostgres
from orders_pipeline.operations.deployment import Deployment
from orders_pipeline_tests.copied_database import copied_database
from orders_pipeline_tests.web.board.served import board_app, board_deployment, chromium, people, served
from orders_pipeline_tests.web.board.shop import Shop, one_of_each


@pytest.fixture(scope="module")
def deployment(
    postgres: EmbeddedPostgres, postgres_admin: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    with copied_database(postgres, postgres_admin, "template") as url:
        opened = board_deployment(url, tmp_path_factory.mktemp("board"))
        yield opened
        opened.database.close()


@pytest.fixture(scope="module")
def shop(deployment: Deployment) -> Shop:
    shop = Shop(deployment.database)
    one_of_each(shop)
    return shop


@pytest.fixture(scope="module")
def board_url(deployment: Deployment, shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(board_app(deployment, people(tmp_path_factory.mktemp("people")))) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running
