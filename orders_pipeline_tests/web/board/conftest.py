"""One shop, one server and one browser a module: a test uses orders of its own where it changes them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser
from sqlalchemy import Engine, text

from orders_pipeline.database.embedded import EmbeddedPostgres
from orders_pipeline.operations.deployment import Deployment
from orders_pipeline_tests.web.board.served import board_app, board_deployment, chromium, people, served
from orders_pipeline_tests.web.board.shop import Shop, one_of_each


@pytest.fixture(scope="module")
def deployment(
    postgres: EmbeddedPostgres, postgres_admin: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    name = f"board_{uuid.uuid4().hex[:12]}"
    with postgres_admin.connect() as connection:
        connection.execute(text(f"create database {name} template template"))
    opened = board_deployment(postgres.url(name), tmp_path_factory.mktemp("board"))
    yield opened
    opened.database.close()
    with postgres_admin.connect() as connection:
        connection.execute(text(f"drop database {name} with (force)"))


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
