"""A seller gives consent at Amazon's page, and the account is served; whatever else comes back changes nothing."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Response
from sqlalchemy import Engine, text
from starlette.applications import Starlette
from starlette.middleware import Middleware

from orders_pipeline.audit.redaction import install
from orders_pipeline.channels.amazon.errors import AmazonNotAuthorized
from orders_pipeline.database.embedded import EmbeddedPostgres
from orders_pipeline.operations.authorize import CALLBACK_PATH, WORDS, Outcome
from orders_pipeline.operations.deployment import Deployment, ServedAccount
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline.settings import load_settings
from orders_pipeline.vault.rotation import rotate_keys
from orders_pipeline.web.access import LoginAccess
from orders_pipeline.web.authorize import Authorize
from orders_pipeline.web.guard import Guard, GuardRules
from orders_pipeline.web.journal import AuditJournal
from orders_pipeline.web.login import Login
from orders_pipeline.web.origins import Origins
from orders_pipeline_tests.web.board.served import chromium, served
from orders_pipeline_tests.web.door import PASSWORD, login_access, write_users

OTHER_SELLER = "A2OTHERSELLER0"
PEOPLE = {"susan": "supervisor", "maria": "operator"}
SUSAN = "person:susan"


@dataclass
class Shop:
    """What a test of authorization looks at."""

    deployment: Deployment
    sandbox: Sandbox
    url: str
    lines: list[str] = field(default_factory=list[str])

    @property
    def account(self) -> ServedAccount:
        return self.deployment.account()

    def sql(self, statement: str) -> list[Any]:
        with self.deployment.database.begin() as connection:
            result = connection.execute(text(statement))
            return list(result.all()) if result.returns_rows else []

    def outcomes(self) -> list[tuple[str, str]]:
        """(actor, outcome) of the audit entries about authorization, oldest first."""
        rows = self.sql("select actor, outcome from audit.entries where action = 'authorize' order by entry_id")
        return [(row.actor, row.outcome) for row in rows]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(time_scale=1000, floor=FloorOptions(automatic=False), subscribed=False) as running:
        running.amazon.accounts.add_seller(OTHER_SELLER, list(running.marketplace_ids))
        yield running


@pytest.fixture(scope="module")
def deployment(
    postgres: EmbeddedPostgres, postgres_admin: Engine, sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    name = f"authorize_{uuid.uuid4().hex[:12]}"
    with postgres_admin.connect() as connection:
        connection.execute(text(f"create database {name} template template"))
    folder = tmp_path_factory.mktemp("authorize")
    folder.chmod(0o700)
    settings = {
        **sandbox.environment(),
        "ORDERS_DATABASE_URL": postgres.url(name),
        "ORDERS_DATA_DIR": str(folder),
        "AMAZON_LWA_REFRESH_TOKEN": "stored",
    }
    opened = Deployment(load_settings(settings))
    opened.vault.prepare()
    yield opened
    opened.database.close()
    with postgres_admin.connect() as connection:
        connection.execute(text(f"drop database {name} with (force)"))


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def logged() -> Generator[list[str]]:
    """Every line that anybody logs, the server's access log among them, as a process of the UI writes it."""
    install()
    logging.getLogger("uvicorn.access").setLevel(logging.INFO)
    handler = _Lines()
    for name in ("", "uvicorn.access"):
        logging.getLogger(name).addHandler(handler)
    yield handler.lines
    for name in ("", "uvicorn.access"):
        logging.getLogger(name).removeHandler(handler)


@pytest.fixture(scope="module")
def shop(
    deployment: Deployment, sandbox: Sandbox, line: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    folder: Path = tmp_path_factory.mktemp("people")
    lines = (line.replace("maria:operator", f"{name}:{role}") for name, role in PEOPLE.items())
    access = login_access(write_users(folder / "users", *lines), folder)
    assert isinstance(access, LoginAccess)
    journal = AuditJournal(deployment)
    guard = Middleware(Guard, rules=GuardRules(Origins(), access, journal=journal))
    routes = [*Login(access, journal).routes(), *Authorize(deployment, access).routes()]
    with served(Starlette(routes=routes, middleware=[guard])) as url, logged() as written:
        sandbox.amazon.accounts.application.redirect_uris = [f"{url}{CALLBACK_PATH}"]
        yield Shop(deployment, sandbox, url, written)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def context(browser: Browser, shop: Shop) -> Iterator[BrowserContext]:
    opened = browser.new_context(base_url=shop.url)
    opened.set_default_timeout(15_000)
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """Susan's, logged in, where the accounts are."""
    return _logged_in(context, "susan")


def test_a_consent_makes_the_account_be_served(shop: Shop, page: Page, context: BrowserContext):
    with pytest.raises(AmazonNotAuthorized, match="nobody has authorized"):
        _ask_amazon(shop)
    assert "not authorized yet" in page.inner_text("body")
    answers: list[Response] = []
    context.on("response", lambda answer: answers.append(answer))

    _decide(page, shop, "Authorize")
    assert WORDS[Outcome.DONE] in page.inner_text("body")

    # Neither the address nor the history has the code; where it was, nobody is told of the page that one comes from.
    assert page.url == f"{shop.url}/authorize/returned?outcome=done"
    (callback,) = [one for one in answers if CALLBACK_PATH in one.url]
    ours = [one for one in answers if one.url.startswith(f"{shop.url}/authorize/")]
    assert len(ours) == 3
    assert callback.status == 303
    assert {(one.headers["referrer-policy"], one.headers["cache-control"]) for one in ours} == {
        ("no-referrer", "no-store")
    }
    code = callback.url.split("spapi_oauth_code=")[1]
    token = shop.sandbox.amazon.accounts.sellers[shop.sandbox.seller_id].refresh_token
    assert [line for line in shop.lines if CALLBACK_PATH in line]
    assert [line for line in shop.lines if code in line or token in line] == []
    page.go_back()
    assert CALLBACK_PATH not in page.url

    page.goto("/authorize")
    assert "by person:susan; to be authorized again by" in page.inner_text("body")
    assert shop.outcomes()[-2:] == [(SUSAN, "asked"), (SUSAN, "done")]
    assert _ask_amazon(shop)

    # Sealed as everything is, and re-wrapped as everything is.
    (before,) = shop.sql("select key_id, ciphertext from vault.amazon_tokens where purpose = 'refresh@na'")
    assert token.encode() not in bytes(before.ciphertext)
    deployment = shop.deployment
    rotation = rotate_keys(deployment.database, deployment.keys, deployment.audit, purpose="test")
    assert rotation.complete
    assert before.key_id in rotation.destroyed
    shop.sandbox.amazon.accounts.expire_tokens()
    assert _ask_amazon(shop)


def test_a_consent_that_is_denied_changes_nothing(shop: Shop, page: Page):
    before = _sealed(shop)
    _decide(page, shop, "Deny")
    assert WORDS[Outcome.DENIED] in page.inner_text("body")
    assert _sealed(shop) == before
    assert shop.outcomes()[-1] == (SUSAN, "denied")


def test_another_sellers_consent_is_refused(shop: Shop, page: Page):
    before = _sealed(shop)
    _decide(page, shop, "Authorize", seller=OTHER_SELLER)
    assert WORDS[Outcome.OTHER_SELLER] in page.inner_text("body")
    assert _sealed(shop) == before
    assert shop.outcomes()[-1] == (SUSAN, "other_seller")
    # Its code was not even exchanged.
    assert shop.sandbox.amazon.accounts._codes


def test_a_state_counts_once(shop: Shop, page: Page, context: BrowserContext):
    seen: list[str] = []
    context.on("request", lambda request: seen.append(request.url))
    _decide(page, shop, "Authorize")
    before = _sealed(shop)
    (callback,) = [url for url in seen if CALLBACK_PATH in url]
    page.goto(callback)
    assert WORDS[Outcome.STATE_USED] in page.inner_text("body")
    page.goto(f"{CALLBACK_PATH}?state=made-up&selling_partner_id={shop.sandbox.seller_id}&spapi_oauth_code=x")
    assert WORDS[Outcome.STATE_UNKNOWN] in page.inner_text("body")
    assert _sealed(shop) == before


def test_a_state_lives_for_ten_minutes_of_the_databases_clock(shop: Shop, page: Page):
    before = _sealed(shop)
    _begin(page)
    shop.sql("update pipeline.amazon_consents set expires_at = asked_at + interval '1 microsecond'")
    page.click("text=Authorize")
    page.wait_for_url("**/authorize/returned*")
    assert WORDS[Outcome.STATE_EXPIRED] in page.inner_text("body")
    assert _sealed(shop) == before


def test_only_the_browser_and_the_person_that_asked_bring_a_consent_back(
    shop: Shop, page: Page, context: BrowserContext
):
    before = _sealed(shop)
    # Another browser: Amazon's page was opened from a link that somebody sent.
    _begin(page)
    consent = page.url
    context.clear_cookies(name=_cookie(context))
    page.goto(consent)
    page.click("text=Authorize")
    page.wait_for_url("**/authorize/returned*")
    assert WORDS[Outcome.OTHER_BROWSER] in page.inner_text("body")
    # The same browser, whose person has logged out meanwhile.
    page.goto("/authorize")
    _begin(page)
    other = context.new_page()
    other.goto("/logout")
    other.click("button")
    other.wait_for_url("**/login")
    page.click("text=Authorize")
    page.wait_for_url("**/authorize/returned*")
    assert WORDS[Outcome.OTHER_PERSON] in page.inner_text("body")
    assert _sealed(shop) == before


def test_who_is_no_supervisor_authorizes_nothing(shop: Shop, context: BrowserContext):
    page = _logged_in(context, "maria")
    assert "your role may not" in page.inner_text("body")
    answer = context.request.post(
        "/authorize/begin", form={"account": shop.account.account_id}, headers={"Origin": shop.url}
    )
    assert answer.status == 403


def test_amazons_page_refuses_what_is_not_registered(shop: Shop, page: Page):
    application = shop.sandbox.amazon.accounts.application
    registered, application.redirect_uris = application.redirect_uris, ["https://elsewhere.example/callback"]
    try:
        _begin(page)
        assert "MD5101" in page.inner_text("body")
    finally:
        application.redirect_uris = registered
    application.is_draft = True
    try:
        page.goto("/authorize")
        _begin(page)
        assert "MD1000" in page.inner_text("body")
    finally:
        application.is_draft = False


def _begin(page: Page) -> None:
    page.click("text=Authorize at Amazon")
    page.wait_for_url("**/apps/authorize/consent*")


def _decide(page: Page, shop: Shop, button: str, seller: str | None = None) -> None:
    _begin(page)
    page.select_option("select", seller or shop.sandbox.seller_id)
    page.click(f"text={button}")
    page.wait_for_url("**/authorize/returned*")


def _cookie(context: BrowserContext) -> str:
    (name,) = [name for one in context.cookies() if "authorize" in (name := one.get("name", ""))]
    return name


def _sealed(shop: Shop) -> list[object]:
    return [
        bytes(row[0]) for row in shop.sql("select ciphertext from vault.amazon_tokens where purpose = 'refresh@na'")
    ]


def _ask_amazon(shop: Shop) -> int:
    """As a sweep does; the access token is one that the sealed refresh token gave."""
    return len(shop.account.amazon.sellers.marketplace_participations())


def _logged_in(context: BrowserContext, name: str) -> Page:
    page = context.new_page()
    page.goto("/authorize")
    page.fill("input[name=name]", name)
    page.fill("input[name=password]", PASSWORD)
    page.click("button")
    page.wait_for_url("**/authorize")
    return page
