"""A Slack and a mail server for each test that asks for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orders_pipeline_tests.mail_server import MailServer
from orders_pipeline_tests.slack import Slack


@pytest.fixture
def slack() -> Iterator[Slack]:
    with Slack.listening() as server:
        yield server


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with MailServer.listening() as server:
        yield server
