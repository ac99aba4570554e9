"""What people do at the board: they claim, waive, replay, and are shown an address. Each is named in the audit log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from orders_pipeline.audit.log import current_actor
from orders_pipeline.operations.deployment import Deployment
from orders_pipeline.web.access import OpenAccess
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.web.board.served import PERSON, board_app, served, window
from orders_pipeline_tests.web.board.shop import Shop
from orders_pipeline_tests.world import World

pytestmark = pytest.mark.processes


def _entries(shop: Shop, order_id: str) -> list[tuple[str, str, str, str]]:
    rows = shop.sql(
        "select actor, action, outcome, purpose from audit.entries where order_id = :order_id order by entry_id",
        order_id=order_id,
    )
    return [tuple(row) for row in rows]  # pyright: ignore[reportReturnType]


def _card(page: Page, order_id: str, column: str = "unshipped"):
    return page.locator(f'#column-{column} .card[data-order$=":{order_id}"]')


# --- claims


def test_of_two_who_claim_an_order_one_has_it_and_the_other_is_told_who(browser: Browser, board_url: str, shop: Shop):
    order_id = shop.order("333-0000001-0000001", state="queued")
    with window(browser, board_url, "maria") as maria, window(browser, board_url, "peter") as peter:
        for seen in (maria, peter):
            seen.page.goto("/board")
        _card(maria.page, order_id).get_by_role("button", name="Claim").click()
        expect(_card(maria.page, order_id).locator(".owner")).to_contain_text("maria")
        # His board has not been refreshed yet, or was at this moment.
        peter.page.evaluate(
            "name => htmx.ajax('POST', `/board/orders/${name.replace(':', '/')}/claim`,"
            " {target: '#message', swap: 'none'})",
            f"{SELLER}:{order_id}",
        )
        expect(peter.page.locator("#message")).to_contain_text(f"maria has claimed order {order_id} already.")
        peter.page.evaluate("htmx.trigger('#refresh', 'refresh')")
        expect(_card(peter.page, order_id).locator(".owner")).to_contain_text("maria")
        expect(_card(peter.page, order_id).get_by_role("button")).to_have_count(0)
        # By the keyboard: she gives it back.
        _card(maria.page, order_id).locator("a.open").focus()
        maria.page.keyboard.press("c")
        expect(_card(maria.page, order_id).locator(".owner")).to_have_count(0)
        assert maria.complaints == []
    assert [(actor, outcome) for actor, _, outcome, _ in _entries(shop, order_id)] == [
        ("person:maria", "claimed"),
        ("person:maria", "unclaimed"),
    ]


def test_another_claim_is_taken_over_on_purpose_in_the_open_order(browser: Browser, board_url: str, shop: Shop):
    mine, theirs = shop.order("333-0000004-0000004"), shop.order("333-0000005-0000005")
    shop.sql(
        "insert into pipeline.order_claims (account_id, order_id, claimed_by) values (:account, :id, 'person:maria')",
        account=SELLER, id=theirs,
    )  # fmt: skip

    def claims() -> set[tuple[str, str]]:
        rows = shop.sql("select order_id, claimed_by from pipeline.order_claims where order_id like '333-000000_-%'")
        return {(row.order_id, row.claimed_by) for row in rows if row.order_id in (mine, theirs)}

    with window(browser, board_url, "peter") as seen:
        page = seen.page
        page.goto(f"/board?open={SELLER}:{theirs}")
        # The key is for the card where he is, not for the order that is open.
        _card(page, mine).locator("a.open").focus()
        page.keyboard.press("c")
        expect(_card(page, mine).locator(".owner")).to_contain_text("peter")
        page.locator("#panel").focus()
        page.keyboard.press("c")
        assert claims() == {(mine, "person:peter"), (theirs, "person:maria")}
        page.get_by_role("button", name="Take over").click()
        expect(page.locator("#panel-facts .owner")).to_contain_text("peter")
        expect(page.locator("#message")).to_contain_text(f"Order {theirs} is yours, and no longer maria's.")
        assert seen.complaints == []
    assert claims() == {(mine, "person:peter"), (theirs, "person:peter")}


# --- holds, replay, recover


def test_a_hold_is_waived_with_a_reason_under_the_persons_name(browser: Browser, board_url: str, shop: Shop):
    order_id = "111-0000003-0000003"
    with window(browser, board_url) as seen:
        page = seen.page
        page.goto(f"/board?open={SELLER}:{order_id}")
        page.get_by_label("Why", exact=True).fill("The buyer changed his mind")
        page.get_by_role("button", name="Waive").click()
        expect(page.locator("#message")).to_contain_text("will be shipped in spite of it")
        expect(page.locator("#panel-actions")).to_contain_text("Take back")
        page.get_by_role("button", name="Recover from Amazon").click()
        expect(page.locator("#message")).to_contain_text("Amazon is asked")
        expect(page.locator(".history")).to_contain_text("person:maria")
        assert seen.complaints == []
    assert shop.sql("select waived_holds from pipeline.orders where order_id = :id", id=order_id)[0][0] == [
        "buyer_asks_to_cancel"
    ]
    assert _entries(shop, order_id)[:2] == [
        ("person:maria", "waive_hold", "waived", "The buyer changed his mind"),
        ("person:maria", "order_replay", "held", "replay by a person"),
    ]


def test_what_was_taken_back_meanwhile_is_not_waived_again_by_a_page_of_before(board_url: str, shop: Shop):
    order_id = shop.order("333-0000002-0000002", state="held", reasons=("buyer_asks_to_cancel", "transparency_codes"))

    def waived() -> list[str]:
        return shop.sql("select waived_holds from pipeline.orders where order_id = :id", id=order_id)[0][0]

    def post(act: str, person: str, *holds: str) -> None:
        headers = {PERSON: person, "Origin": board_url, "HX-Request": "true"}
        data = {"reason": "To test it", "hold": list(holds)}
        path = f"{board_url}/board/orders/{SELLER}/{order_id}/{act}"
        assert requests.post(path, data=data, headers=headers, timeout=30).status_code == 200

    post("waive", "maria", "buyer_asks_to_cancel")
    panel = requests.get(f"{board_url}/board/orders/{SELLER}/{order_id}", headers={PERSON: "maria"}, timeout=30).text
    (form,) = re.findall(r'<form hx-post="[^"]*/waive".*?</form>', panel, re.DOTALL)
    sent_unasked = re.findall(r'<input type="hidden" name="hold" value="([^"]*)"', form)
    post("take-back", "peter")
    post("waive", "maria", "transparency_codes", *sent_unasked)
    assert waived() == ["transparency_codes"]
    # And what another waived meanwhile stays waived.
    post("waive", "peter", "buyer_asks_to_cancel")
    assert waived() == ["buyer_asks_to_cancel", "transparency_codes"]


def test_an_open_panel_offers_what_another_has_left_to_do(browser: Browser, board_url: str, shop: Shop):
    order_id = shop.order("333-0000003-0000003", state="held", reasons=("buyer_asks_to_cancel",))

    def waive(*reasons: str) -> None:
        shop.sql(
            "update pipeline.orders set waived_holds = cast(:reasons as text[]) where order_id = :id",
            reasons=list(reasons), id=order_id,
        )  # fmt: skip

    with window(browser, board_url) as seen:
        page = seen.page
        page.goto(f"/board?open={SELLER}:{order_id}")
        expect(page.get_by_role("button", name="Waive")).to_be_visible()
        waive("buyer_asks_to_cancel")
        page.evaluate("htmx.trigger('#refresh', 'refresh')")
        expect(page.get_by_role("button", name="Take back")).to_be_visible()
        # What somebody has begun to write stays.
        page.get_by_label("Why", exact=True).fill("The buyer wants it")
        page.locator("#panel h2").click()
        waive()
        with page.expect_response(lambda answer: "/board/refresh" in answer.url and answer.status == 200):
            page.evaluate("htmx.trigger('#refresh', 'refresh')")
        expect(page.locator("#panel-facts")).not_to_contain_text("waived")
        expect(page.get_by_label("Why", exact=True)).to_have_value("The buyer wants it")
        assert seen.complaints == []


def test_a_refused_order_is_tried_again(browser: Browser, board_url: str, shop: Shop):
    order_id = "111-0000004-0000004"
    with window(browser, board_url) as seen:
        seen.page.goto(f"/board?open={SELLER}:{order_id}")
        seen.page.get_by_role("button", name="Replay").click()
        expect(seen.page.locator("#message")).to_contain_text("due again")
    (actor, action, outcome, _) = _entries(shop, order_id)[-1]
    assert (actor, action, outcome) == ("person:maria", "order_replay", "queued")


def test_an_order_that_is_not_stored_is_asked_of_amazon(browser: Browser, board_url: str, shop: Shop):
    with window(browser, board_url) as seen:
        seen.page.goto("/board?q=900-0000000-0000001")
        seen.page.get_by_role("button", name="Ask Amazon for it").click()
        expect(seen.page.locator("#message")).to_contain_text("Amazon is asked about order 900-0000000-0000001")
    assert shop.sql("select subject from pipeline.jobs where queue = 'fetch' and subject like '900-%'")


# --- who may, and from where


def _post(url: str, act: str, person: str, order_id: str = "111-0000002-0000002", **headers: str) -> requests.Response:
    sent = {PERSON: person, "Origin": url, "HX-Request": "true", **headers}
    sent = {name: value for name, value in sent.items() if value}
    return requests.post(
        f"{url}/board/orders/{SELLER}/{order_id}/{act}",
        data={"reason": "To test it", "hold": "buyer_asks_to_cancel"},
        headers=sent,
        timeout=30,
    )


@pytest.mark.parametrize("act", ["claim", "unclaim", "take-over", "waive", "take-back", "replay", "recover", "address"])
def test_a_viewer_another_page_and_a_get_do_nothing(board_url: str, shop: Shop, act: str):
    before = shop.sql("select count(*) from audit.entries")
    assert _post(board_url, act, "victor").status_code == 403
    assert _post(board_url, act, "eve").status_code == 403
    for origin in ("https://evil.example", "null", ""):
        assert _post(board_url, act, "susan", Origin=origin).status_code == 403
    answer = requests.get(
        f"{board_url}/board/orders/{SELLER}/111-0000002-0000002/{act}", headers={PERSON: "susan"}, timeout=30
    )
    assert answer.status_code == 405
    assert shop.sql("select count(*) from audit.entries") == before
    assert shop.sql("select count(*) from pipeline.order_claims where order_id = '111-0000002-0000002'")[0][0] == 0


def test_what_cannot_be_done_is_said(board_url: str, shop: Shop):
    for order_id, act, status, expected in (
        ("111-0000008-0000008", "claim", 409, "is done"),
        ("999-0000000-0000000", "claim", 409, "not known"),
        ("no order", "claim", 404, "no order"),
        ("111-0000002-0000002", "burn", 404, "nothing of this name"),
    ):
        answer = _post(board_url, act, "maria", order_id)
        assert answer.status_code == status
        assert expected in answer.text


# --- addresses


@pytest.fixture(scope="module")
def sealed(deployment: Deployment, shop: Shop) -> Iterator[tuple[str, dict[str, str]]]:
    """An order as it came from Amazon, and its buyer's address in clear."""
    deployment.vault.prepare()
    world = World(deployment.database, deployment.vault)
    order_id = world.accepted()
    address = world.amazon.orders[order_id].address
    yield order_id, {name: value for name, value in vars(address).items() if isinstance(value, str) and len(value) > 4}


def test_an_address_is_shown_after_its_audit_entry_and_is_gone_with_the_panel(
    browser: Browser, board_url: str, shop: Shop, sealed: tuple[str, dict[str, str]]
):
    order_id, address = sealed
    texts = [value for name, value in address.items() if "country" not in name]
    assert texts
    with window(browser, board_url, "susan") as seen:
        page = seen.page
        answers: list[tuple[str, str]] = []
        page.on("response", lambda answer: answers.append((answer.url, answer.headers.get("cache-control", ""))))
        page.goto(f"/board?open={SELLER}:{order_id}")
        assert not any(text in page.content() for text in texts)
        page.get_by_label("Why you need it").fill("The carrier asks for the street")
        page.get_by_role("button", name="Show address").click()
        shown = page.locator("#panel-address")
        expect(shown).to_contain_text("Shown to susan")
        found = shown.inner_text()
        assert any(text in found for text in texts)
        assert ("person:susan", "reveal", "allowed", "The carrier asks for the street") in _entries(shop, order_id)
        # Refreshing leaves it, closing takes it.
        with page.expect_response(lambda answer: "/board/refresh" in answer.url):
            page.evaluate("htmx.trigger('#refresh', 'refresh')")
        expect(shown).to_contain_text("Shown to susan")
        page.keyboard.press("Escape")
        page.locator("#panel").wait_for(state="hidden")
        page.go_back()
        expect(page.locator("#panel h2")).to_have_text(order_id)
        assert not any(text in page.content() for text in texts)
        assert not any(text in url or text.replace(" ", "+") in url for url, _ in answers for text in texts)
        assert {kept for url, kept in answers if "/static/" not in url} == {"no-store"}
        assert page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]
        assert seen.complaints == []


def test_an_address_goes_when_it_is_hidden_and_after_five_minutes(
    browser: Browser, board_url: str, shop: Shop, sealed: tuple[str, dict[str, str]]
):
    with window(browser, board_url, "susan") as seen:
        page, shown = seen.page, seen.page.locator("#panel-address")
        page.clock.install()
        page.goto(f"/board?open={SELLER}:{sealed[0]}")
        page.get_by_label("Why you need it").fill("The carrier asks for the street")
        page.get_by_role("button", name="Show address").click()
        expect(shown).to_contain_text("Shown to susan")
        page.get_by_role("button", name="Hide").click()
        expect(shown).to_be_empty()
        page.get_by_role("button", name="Show address").click()
        expect(shown).to_contain_text("Shown to susan")
        page.clock.fast_forward(240_000)
        expect(shown).to_contain_text("Shown to susan")
        page.clock.fast_forward(61_000)
        expect(shown).to_be_empty()


def test_no_page_and_no_answer_of_the_api_holds_a_buyers_data(
    board_url: str, shop: Shop, sealed: tuple[str, dict[str, str]]
):
    order_id, address = sealed
    texts = [value for name, value in address.items() if "country" not in name]
    for path in (
        "/board",
        f"/board?open={SELLER}:{order_id}",
        f"/board/orders/{SELLER}/{order_id}",
        f"/board/refresh?section=unshipped~~&open={SELLER}:{order_id}",
        "/api/amazon/orders",
        f"/api/amazon/orders/{order_id}",
    ):
        answer = requests.get(f"{board_url}{path}", headers={PERSON: "susan"}, timeout=30)
        assert answer.ok, answer.text
        assert order_id in answer.text
        assert not any(text in answer.text for text in texts), path


@pytest.mark.parametrize("order_id", ["111-0000001-0000001", "111%00", "no%20order"])
def test_an_order_of_an_account_that_is_not_served_is_not_shown(board_url: str, shop: Shop, order_id: str):
    other = "A2OTHERSELLER"
    if "%" not in order_id:
        shop.order(order_id, account_id=other, sku="SECRET-SKU")
    accounts = (other, SELLER) if "%" in order_id else (other,)
    for account_id in accounts:
        for path, status in (
            (f"/board?open={account_id}:{order_id}", 200),
            (f"/board/refresh?open={account_id}:{order_id}", 200),
            (f"/board/orders/{account_id}/{order_id}", 404),
        ):
            answer = requests.get(f"{board_url}{path}", headers={PERSON: "susan"}, timeout=30)
            assert (answer.status_code, "SECRET-SKU" in answer.text) == (status, False), path


def test_an_address_needs_a_reason_and_a_role(board_url: str, shop: Shop, sealed: tuple[str, dict[str, str]]):
    order_id, _ = sealed
    before = len(_entries(shop, order_id))
    assert "role" in _post(board_url, "address", "maria", order_id).text
    assert _post(board_url, "address", "maria", order_id).status_code == 403
    url = f"{board_url}/board/orders/{SELLER}/{order_id}/address"
    headers = {PERSON: "susan", "Origin": board_url, "HX-Request": "true"}
    assert requests.post(url, data={"reason": " x "}, headers=headers, timeout=30).status_code == 409
    assert len(_entries(shop, order_id)) == before
    # An order without one: the try is told of as well.
    answer = _post(board_url, "address", "susan", "111-0000002-0000002")
    assert (answer.status_code, "No address of this order" in answer.text) == (404, True)
    assert _entries(shop, "111-0000002-0000002")[-1][:3] == ("person:susan", "reveal", "missing")


def test_where_nobody_logs_in_the_operating_systems_user_is_named(
    deployment: Deployment, shop: Shop, sealed: tuple[str, dict[str, str]], tmp_path: Path
):
    order_id, _ = sealed
    with served(board_app(deployment, OpenAccess())) as url:
        answer = _post(url, "address", "", order_id)
        assert answer.status_code == 200
        # Through a proxy that names nobody, nobody is let in.
        assert _post(url, "address", "", order_id, Via="1.1 proxy").status_code == 403
    assert _entries(shop, order_id)[-1][:3] == (current_actor(), "reveal", "allowed")
    assert re.match(r"user:", current_actor())


def test_read_only_lets_nobody_act(deployment: Deployment, shop: Shop):
    with served(board_app(deployment, OpenAccess(), read_only=True)) as url:
        assert _post(url, "claim", "").status_code == 403
        assert "read-only" in _post(url, "claim", "").text
