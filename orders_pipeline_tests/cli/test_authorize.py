"""`orders-pipeline authorize`: a terminal's way to an authorization. Codes and tokens are typed, and not printed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from click.testing import CliRunner, Result

from orders_pipeline.cli.main import main
from orders_pipeline.database.engine import Database
from orders_pipeline.operations.authorize import WORDS, Outcome
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline_tests.pipeline import point_environment_at

UI = "https://orders.shop.example"
CALLBACK = f"{UI}/authorize/callback"


@pytest.fixture(scope="module")
def shared_sandbox() -> Iterator[Sandbox]:
    with Sandbox(subscribed=False) as running:
        running.amazon.accounts.application.redirect_uris = [CALLBACK]
        yield running


@pytest.fixture
def sandbox(
    shared_sandbox: Sandbox, database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Sandbox:
    assert database
    point_environment_at(
        shared_sandbox, database_url, tmp_path, monkeypatch, AMAZON_LWA_REFRESH_TOKEN="stored", ORDERS_UI_URL=UI
    )
    return shared_sandbox


def run(*arguments: str, typed: str = "") -> Result:
    return CliRunner().invoke(main, ["authorize", *arguments], input=f"{typed}\n")


def test_the_address_that_amazon_leads_to_is_typed_and_counts_once(sandbox: Sandbox):
    assert "not authorized yet" in run().output
    url = run("--consent-url").output.splitlines()[0]
    led_to = _decide(url, sandbox.seller_id)
    assert led_to.startswith(CALLBACK)
    done = run("--code-from", "-", typed=led_to)
    assert (done.exit_code, "is authorized" in done.output) == (0, True), done.output
    _says_nothing_of(done, sandbox, led_to)
    assert "to be authorized again by" in run().output

    again = run("--code-from", "-", typed=led_to)
    assert (again.exit_code, WORDS[Outcome.STATE_USED] in again.output) == (2, True)


def test_a_code_that_is_older_than_five_minutes_is_amazons_to_refuse(sandbox: Sandbox):
    led_to = _decide(run("--consent-url").output.splitlines()[0], sandbox.seller_id)
    for code in sandbox.amazon.accounts._codes.values():
        code.expires_at = sandbox.clock.now()
    late = run("--code-from", "-", typed=led_to)
    assert (late.exit_code, WORDS[Outcome.CODE_REFUSED] in late.output) == (2, True), late.output


def test_a_private_applications_token_is_tried_before_it_is_sealed(sandbox: Sandbox):
    wrong = run("--refresh-token-from", "-", typed="Atzr|cut-short")
    assert (wrong.exit_code, "does not take this refresh token" in wrong.output) == (2, True), wrong.output
    assert "cut-short" not in wrong.output
    assert "not authorized yet" in run().output
    token = sandbox.amazon.accounts.sellers[sandbox.seller_id].refresh_token
    done = run("--refresh-token-from", "-", typed=token)
    assert (done.exit_code, "is authorized" in done.output) == (0, True), done.output
    _says_nothing_of(done, sandbox, token)
    assert "typed, so no end is known" in run().output


def test_no_code_and_no_token_is_an_argument(sandbox: Sandbox):
    given = run("--refresh-token-from", "Atzr|in-a-shells-history")
    assert (given.exit_code, "standard input" in given.output) == (2, True)
    assert "Atzr" not in given.output


def test_of_a_token_in_the_settings_no_date_is_known(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AMAZON_LWA_REFRESH_TOKEN", sandbox.amazon.accounts.sellers[sandbox.seller_id].refresh_token)
    assert "no date is known" in run().output


@pytest.mark.usefixtures("sandbox")
def test_without_a_queue_for_it_no_client_secret_is_rotated_and_the_command_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AMAZON_ROTATION_QUEUE_URL", raising=False)
    for arguments in (["client-secret", "rotate"], ["client-secret", "receive"]):
        told = CliRunner().invoke(main, arguments)
        assert (told.exit_code, "AMAZON_ROTATION_QUEUE_URL" in told.output) == (2, True), told.output


def _decide(url: str, seller_id: str) -> str:
    """What the seller's browser does at the consent page; where it is led."""
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    form = {**query, "seller": seller_id, "decision": "authorize"}
    answer = requests.post(url.partition("?")[0], data=form, timeout=10, allow_redirects=False)
    return answer.headers["Location"]


def _says_nothing_of(done: Result, sandbox: Sandbox, secret: str) -> None:
    token = sandbox.amazon.accounts.sellers[sandbox.seller_id].refresh_token
    assert [each for each in (secret, token) if each in done.output] == []
