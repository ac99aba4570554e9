"""What a person sees of the board in a real browser: columns, cards, filters, search, the panel, keys, and a phone."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from orders_pipeline.web.board.files import HTMX_SHA256, HTMX_VERSION
from orders_pipeline.web.board.store import CARDS_A_PAGE
from orders_pipeline_tests.web.board.served import PHONE, Window, window
from orders_pipeline_tests.web.board.shop import Shop

pytestmark = pytest.mark.processes

LATE, SOON, HELD = "111-0000001-0000001", "111-0000002-0000002", "111-0000003-0000003"
AXE = str(files("axe_playwright_python") / "axe.min.js")


def test_every_order_stands_in_the_column_that_amazon_says(browser: Browser, board_url: str, shop: Shop):
    with window(browser, board_url) as seen:
        seen.page.goto("/board")
        assert seen.cards("unshipped")[:2] == [LATE, SOON]
        assert seen.cards("pending") == ["111-0000006-0000006"]
        assert set(seen.cards("shipped")) == {"111-0000007-0000007", "222-0000002-0000002"}
        assert seen.cards("delivered") == ["111-0000008-0000008"]
        assert seen.cards("canceled") == ["111-0000009-0000009"]
        # A state that Amazon invented yesterday.
        assert seen.cards("other") == ["111-0000010-0000010"]
        assert set(seen.cards("attention")) == {LATE, HELD, "111-0000004-0000004", "111-0000010-0000010"}
        for column, count in {"pending": "1", "shipped": "2", "attention": "4"}.items():
            expect(seen.page.locator(f'[data-count="{column}"]')).to_have_text(count)
        assert seen.complaints == []


def test_a_colour_always_stands_with_its_word(browser: Browser, board_url: str):
    with window(browser, board_url) as seen:
        seen.page.goto("/board")
        found: dict[str, str] = {}
        for order_id, tone, word in (
            (LATE, "late", "Late"),
            (SOON, "action", "To ship"),
            (HELD, "action", "On hold"),
            ("222-0000001-0000001", "afn", "Amazon ships"),
            ("222-0000002-0000002", "shipped", "Shipped"),
        ):
            card = seen.page.locator(f'.column:not(#column-attention) .card[data-order$=":{order_id}"]')
            expect(card).to_have_class(re.compile(rf"\b{tone}\b"))
            expect(card.locator(".tone")).to_contain_text(word)
            found[tone] = card.evaluate("card => getComputedStyle(card).borderLeftColor")
        assert len(set(found.values())) == len(found)
        late = seen.page.locator(f'#column-unshipped .card[data-order$=":{LATE}"]')
        expect(late.locator(".left")).to_have_text(re.compile(r"^-(2 h|1 h 59 min|2 h \d+ min)$"))
        expect(late.locator(".what")).to_contain_text("3 \N{MULTIPLICATION SIGN} LATE-1")
        expect(seen.page.locator(f'#column-attention .card[data-order$=":{HELD}"] .why')).to_have_text(
            "the buyer asks to cancel"
        )


def test_filters_and_search_are_in_the_address(browser: Browser, board_url: str):
    with window(browser, board_url) as seen:
        page = seen.page
        page.goto("/board")
        page.get_by_label("MFN that need tracking").check()
        page.wait_for_url("**/board?needs=tracking")
        expect(page.locator('[data-count="shipped"]')).to_have_text("0")
        shown = seen.cards("unshipped")
        assert LATE in shown
        assert "222-0000001-0000001" not in shown  # Amazon's
        assert "111-0000005-0000005" in shown  # it left, and Amazon does not show its package yet
        page.get_by_label("MFN that need tracking").uncheck()
        page.wait_for_url("**/board")
        page.locator(".filters summary").click()
        page.get_by_label("On hold because").select_option("buyer_asks_to_cancel")
        page.wait_for_url("**/board?hold=buyer_asks_to_cancel")
        expect(page.locator("#column-unshipped .card")).to_have_count(1)
        page.goto("/board?marketplace=A2EUQ1WTGCTBG2")
        assert seen.cards("unshipped") == ["111-0000012-0000012"]
        for typed, column, expected in (
            ("111-0000007-0000007", "shipped", "111-0000007-0000007"),
            ("0000008", "delivered", "111-0000008-0000008"),
            ("late-1", "unshipped", LATE),
            ("1z999aa1 0123456784", "shipped", "111-0000007-0000007"),
        ):
            page.goto("/board")
            page.locator("#q").fill(typed)
            page.wait_for_url("**/board?q=*")
            assert seen.cards(column) == [expected], typed
            expect(page.locator("#board .card")).to_have_count(len(seen.cards("attention")) + 1)
        page.go_back()
        page.wait_for_url("**/board")
        assert seen.complaints == []


def test_a_filter_that_cannot_be_is_explained(browser: Browser, board_url: str):
    with window(browser, board_url) as seen:
        answer = seen.page.goto("/board?fulfillment=DRONE")
        assert answer is not None
        assert answer.status == 400
        expect(seen.page.get_by_role("alert")).to_contain_text("use one of MFN, AFN")


def test_what_others_wrote_is_text_and_short(browser: Browser, board_url: str):
    with window(browser, board_url) as seen:
        seen.page.goto("/board?q=0000011")
        expect(seen.page.locator("#column-unshipped .what")).to_contain_text("<b onclick=alert(1)>SKU</b>")
        seen.page.locator("#column-unshipped a.open").click()
        expect(seen.page.locator(".items li")).to_contain_text("<script>alert(1)</script>")
        assert len(seen.page.locator(".items li").inner_text()) < 350
        assert seen.complaints == []


def test_the_panel_tells_the_whole_story_and_its_address_can_be_shared(browser: Browser, board_url: str):
    with window(browser, board_url) as seen:
        page = seen.page
        page.goto("/board")
        page.locator("#column-shipped a.open", has_text="111-0000007").click()
        expect(page.locator("#panel h2")).to_have_text("111-0000007-0000007")
        expect(page.locator(".packages")).to_contain_text("1Z999AA10123456784")
        page.reload()
        expect(page.locator("#panel h2")).to_have_text("111-0000007-0000007")
        page.keyboard.press("Escape")
        expect(page.locator("#panel")).to_be_empty()
        page.go_back()
        expect(page.locator("#panel h2")).to_have_text("111-0000007-0000007")
        assert seen.complaints == []


def test_the_board_works_with_the_keyboard_alone(browser: Browser, board_url: str):
    with window(browser, board_url) as seen:
        page = seen.page
        page.goto("/board?fulfillment=MFN")
        page.keyboard.press("j")
        first = _focused(page)
        page.keyboard.press("j")
        second = _focused(page)
        assert [first, second] == seen.cards("attention")[:2]
        page.keyboard.press("k")
        assert _focused(page) == first
        page.keyboard.press("Enter")
        expect(page.locator("#panel h2")).to_have_text(first)
        page.keyboard.press("Escape")
        expect(page.locator("#panel")).to_be_empty()
        assert _focused(page) == first
        page.keyboard.press("l")
        assert _focused(page) == seen.cards("pending")[0]
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.id") == "q"
        page.keyboard.type("jkc")
        assert page.locator("#q").input_value() == "jkc"


def test_the_keyboard_goes_on_where_it_was(browser: Browser, board_url: str, shop: Shop):
    orders = [
        shop.order(f"444-000000{number}-0000000", ship_in=timedelta(hours=number), sku="KEYS-1")
        for number in range(1, 5)
    ]
    with window(browser, board_url) as seen:
        page = seen.page
        page.goto("/board?q=keys-1")
        page.keyboard.press("l")
        page.keyboard.press("j")
        assert _focused(page) == orders[1]
        page.keyboard.press("Enter")
        expect(page.locator("#panel h2")).to_have_text(orders[1])
        page.keyboard.press("j")
        assert _focused(page) == orders[2]
        # Another state of Amazon's takes it away, into a column that was not there.
        expect(page.locator("#column-other")).to_be_hidden()
        shop.sql("update pipeline.orders set status = 'MELTED' where order_id = :id", id=orders[2])
        _refresh(page)
        expect(page.locator(f'#column-other .card[data-order$=":{orders[2]}"]')).to_be_visible()
        page.keyboard.press("j")
        assert _focused(page) == orders[3]
        assert seen.complaints == []


def test_the_board_refreshes_itself_without_losing_the_place(browser: Browser, board_url: str, shop: Shop):
    shop.many(4 * CARDS_A_PAGE)
    try:
        with window(browser, board_url) as seen:
            page = seen.page
            page.goto("/board?q=SKU-50")
            page.goto("/board")
            listed = page.locator("#list-unshipped")
            listed.evaluate("list => list.scrollTo(0, list.scrollHeight)")
            expect(page.locator("#list-unshipped .section")).not_to_have_count(1)
            listed.evaluate("list => list.scrollTo(0, 2500)")
            page.locator('#list-unshipped .card[data-order$="0000020"] a.open').focus()
            page.locator('#list-unshipped .card[data-order$="0000020"] a.open').press("Enter")
            expect(page.locator("#panel h2")).to_have_text("700-0000000-0000020")
            page.evaluate("getSelection().selectAllChildren(document.querySelector('#panel h2'))")
            before = listed.evaluate("list => list.scrollTop")
            # What is in sight changes: one order is shipped, one becomes late.
            shop.sql("update pipeline.orders set status = 'SHIPPED' where order_id = '700-0000000-0000021'")
            shop.order("111-0000099-0000099", ship_in=-timedelta(hours=9), state="accepted")
            _refresh(page)
            expect(page.locator('#list-unshipped .card[data-order$="0000021"]')).to_have_count(0)
            expect(page.locator('#list-shipped .card[data-order$="0000021"]')).to_have_count(1)
            expect(page.locator('#list-attention .card[data-order$="0000099"]')).to_have_count(1)
            assert abs(listed.evaluate("list => list.scrollTop") - before) < 200
            assert page.evaluate("getSelection().toString()") == "700-0000000-0000020"
            expect(page.locator("#panel h2")).to_have_text("700-0000000-0000020")
            # Nothing changed: nothing is sent.
            statuses: list[tuple[int, int]] = []
            page.on(
                "response",
                lambda answer: (
                    statuses.append((answer.status, len(answer.headers.get("content-length", ""))))
                    if "/refresh" in answer.url
                    else None
                ),
            )
            # Scrolling may have one under way, whose answer is the last that is new.
            for _ in range(3):
                _refresh(page)
            assert statuses[-1][0] == 304, statuses
            assert seen.complaints == []
    finally:
        shop.sql("delete from pipeline.fulfillment_orders where order_id like '700-%' or order_id like '%-0000099'")
        shop.sql("delete from pipeline.orders where order_id like '700-%' or order_id like '%-0000099'")


AFN = "222-0000001-0000001"


def test_an_answer_that_was_asked_for_before_a_filter_is_not_shown_after_it(browser: Browser, board_url: str):
    with window(browser, board_url) as seen:
        page = seen.page
        page.goto("/board")
        held = _hold_a_refresh(page)
        page.get_by_label("MFN that need tracking").check()
        page.wait_for_url("**/board?needs=tracking")
        expect(page.locator(f'#board .card[data-order$=":{AFN}"]')).to_have_count(0)
        _let_go(page, held)
        assert page.locator(f'#board .card[data-order$=":{AFN}"]').count() == 0
        expect(page.locator('[data-count="shipped"]')).to_have_text("0")
        # Nor is its tag taken for that of what is shown.
        with page.expect_response(lambda answer: "/board/refresh" in answer.url) as answer:
            page.evaluate("htmx.trigger('#refresh', 'refresh')")
        assert answer.value.status == 200
        assert seen.complaints == []


def test_an_answer_about_one_order_is_not_shown_in_the_panel_of_another(browser: Browser, board_url: str):
    with window(browser, board_url) as seen:
        page = seen.page
        page.goto(f"/board?open=A3TH9S8BH6GOGM:{HELD}")
        held = _hold_a_refresh(page)
        page.locator(f'#column-unshipped .card[data-order$=":{SOON}"] a.open').click()
        expect(page.locator("#panel h2")).to_have_text(SOON)
        _let_go(page, held)
        assert "SOON-1" in page.locator("#panel .items").inner_text()
        assert seen.complaints == []


def test_times_are_told_by_the_servers_clock(browser: Browser, board_url: str):
    with window(browser, board_url) as seen:
        page = seen.page
        # The clock of this machine is three days ahead.
        page.clock.install(time=datetime.now(UTC) + timedelta(days=3))
        page.goto("/board")
        page.clock.fast_forward(16_000)
        left = page.locator(f'#column-unshipped .card[data-order$=":{SOON}"] .left')
        expect(left).to_have_text(re.compile(r"^2 h \d+ min left$"))


def test_a_lost_connection_is_told_and_found_again(browser: Browser, board_url: str):
    with window(browser, board_url) as seen:
        page = seen.page
        page.goto("/board")
        page.context.set_offline(True)
        page.evaluate("htmx.trigger('#refresh', 'refresh')")
        expect(page.get_by_role("alert")).to_contain_text("Connection lost")
        page.context.set_offline(False)
        _refresh(page)
        expect(page.locator("#lost")).to_be_hidden()


def test_the_board_fits_a_phone(browser: Browser, board_url: str):
    with window(browser, board_url, size=PHONE, has_touch=True, is_mobile=True) as seen:
        page = seen.page
        page.goto("/board")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        expect(page.locator("#column-attention h2")).to_be_in_viewport()
        page.locator(".tab-unshipped").tap()
        expect(page.locator("#column-unshipped h2")).to_be_in_viewport()
        page.locator(f'#column-unshipped .card[data-order$=":{LATE}"]').tap()
        expect(page.locator("#panel h2")).to_have_text(LATE)
        box = page.locator("#panel").bounding_box()
        assert box is not None
        assert box["width"] == PHONE["width"]
        page.locator("#panel .close").tap()
        expect(page.locator("#panel")).to_be_empty()


@pytest.mark.parametrize("path", ["/board", f"/board?open=A3TH9S8BH6GOGM:{HELD}", "/api", "/board?hold=nonsense"])
def test_axe_finds_nothing_serious(browser: Browser, board_url: str, path: str):
    with window(browser, board_url, bypass_csp=True) as seen:
        seen.page.goto(path)
        seen.page.add_script_tag(path=AXE)
        assert _serious(seen) == []


def test_htmx_is_the_pinned_file_of_its_package():
    content = (files("orders_pipeline.web.board") / "static" / "htmx.min.js").read_text("utf-8")
    assert f"'{HTMX_VERSION}'" in content or f'"{HTMX_VERSION}"' in content
    assert len(HTMX_SHA256) == 64


def _hold_a_refresh(page: Page) -> list[Route]:
    """A refresh is asked for, and its answer does not come."""
    held: list[Route] = []
    page.route("**/board/refresh*", lambda route: held.append(route))  # playwright needs a function
    with page.expect_request("**/board/refresh*"):
        page.evaluate("htmx.trigger('#refresh', 'refresh')")
    return held


def _let_go(page: Page, held: list[Route]) -> None:
    """Its answer comes, and the page has dealt with it."""
    page.evaluate(
        """() => { window.answered = new Promise(done => document.addEventListener("htmx:finally:request",
          event => event.detail.ctx.sourceElement.id === "refresh" && done(true))) }"""
    )
    held[0].continue_()
    assert page.evaluate("window.answered")
    page.unroute("**/board/refresh*")


def _focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.textContent"))


def _refresh(page: Page) -> None:
    """What the board does by itself every five seconds, now."""
    with page.expect_response(lambda answer: "/board/refresh" in answer.url):
        page.evaluate("htmx.trigger('#refresh', 'refresh')")


def _serious(seen: Window) -> list[Any]:
    found = seen.page.evaluate("axe.run()")
    return [
        json.dumps(
            {"rule": one["id"], "impact": one["impact"], "where": [node["html"][:150] for node in one["nodes"][:3]]}
        )
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
