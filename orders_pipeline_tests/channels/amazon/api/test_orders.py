"""Reading orders through both versions of the API, against the sandbox, which enforces Amazon's rules."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from orders_pipeline.channels.amazon.api.orders_v0 import warn_of_removal
from orders_pipeline.channels.amazon.client import AmazonClient
from orders_pipeline.channels.amazon.errors import (
    AmazonNotFound,
    AmazonPageTokenInvalid,
    AmazonProtocolError,
    AmazonRoleMissing,
)
from orders_pipeline.channels.amazon.quota.operations import GET_ORDER
from orders_pipeline.model.account import OrdersApi
from orders_pipeline.model.order import (
    MERCHANT,
    Bucket,
    FetchedOrder,
    OrderParts,
    OrderStatus,
    Pieces,
    ReadQuota,
    SearchPage,
    SearchWindow,
    Verification,
)
from orders_pipeline.model.personal import PersonalText
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline_tests.channels.amazon.canned import Canned, CannedAmazon
from orders_pipeline_tests.channels.amazon.conftest import OpenCanned, OpenSandboxed, Recorded
from orders_pipeline_tests.conftest import MARKETPLACE

VERSIONS: tuple[OrdersApi, ...] = ("2026-01-01", "v0")
GIFT = {
    "gift_message": "Many happy returns",
    "customization_url": "https://example.com/engraving.zip",
    "quantity": 3,
    "unit_price": "9.99",
}


@pytest.mark.parametrize("orders_api", VERSIONS)
def test_personal_data_comes_only_when_requested(
    open_sandboxed: OpenSandboxed, sandbox: Sandbox, orders_api: OrdersApi
) -> None:
    placed = sandbox.add_order(items=[GIFT, {}])
    client = open_sandboxed(orders_api)
    state = client.orders.get_order(placed.order_id)
    assert state.shipping_details is None
    fetched = client.orders.get_order(placed.order_id, OrderParts.SHIPPING_DETAILS)
    assert fetched.order == state.order
    details = fetched.shipping_details
    assert details is not None
    assert details.address.is_shippable
    assert details.address.plain()["name"] == placed.address.name
    assert details.address.plain()["address_line1"] == placed.address.address_line1
    [texts] = details.items.values()
    assert texts.gift_message == PersonalText("Many happy returns")
    assert texts.customization_url == PersonalText("https://example.com/engraving.zip")
    for shown in (repr(fetched), repr(state)):
        assert str(placed.address.name) not in shown
        assert "Many happy" not in shown
        assert "engraving" not in shown


def test_both_versions_tell_the_same_of_the_same_order(open_sandboxed: OpenSandboxed, sandbox: Sandbox) -> None:
    placed = sandbox.add_order(
        items=[GIFT, {"programs": ["TRANSPARENCY"], "cancel_request_reason": "Ordered by mistake"}],
        programs=["PRIME", "AMAZON_BUSINESS"],
        service_level="SECOND_DAY",
    )
    parts = OrderParts.SHIPPING_DETAILS | OrderParts.PACKAGES
    new, old = (open_sandboxed(version).orders.get_order(placed.order_id, parts) for version in VERSIONS)
    assert new.order.packages == ()
    assert old.order == replace(new.order, packages=None)
    assert old.order.cancellation_requested
    assert old.shipping_details == new.shipping_details


def test_v0_lists_orders_by_their_ids_and_with_their_items_they_are_as_a_call_for_each_tells_them(
    open_sandboxed: OpenSandboxed, sandbox: Sandbox
) -> None:
    placed = [sandbox.add_order(items=[{**GIFT, "programs": ["FBM_SHIP_PLUS"]}, {}]) for _ in range(3)]
    client, wanted = open_sandboxed("v0"), [order.order_id for order in placed]
    for parts in (OrderParts.STATE, OrderParts.SHIPPING_DETAILS):
        page = client.orders.list_orders([*wanted, "999-9999999-9999999"], parts)
        assert sorted(order.order_id for order in page.orders) == sorted(wanted)
        assert set(page.pieces.values()) == {Pieces(shipped=0, unshipped=4)}
        for order in page.orders:
            assert order.items == ()
            listed = FetchedOrder(order, page.shipping_details.get(order.order_id))
            assert client.orders.add_items(listed, parts) == client.orders.get_order(order.order_id, parts)
    with pytest.raises(ValueError, match="50 ids"):
        client.orders.list_orders(["999-9999999-9999999"] * 51)


@pytest.mark.parametrize("orders_api", VERSIONS)
def test_an_order_that_amazon_does_not_know_is_told_so(open_sandboxed: OpenSandboxed, orders_api: OrdersApi) -> None:
    with pytest.raises(AmazonNotFound) as caught:
        open_sandboxed(orders_api).orders.get_order("999-9999999-9999999")
    assert "Compare the seller and the region" in str(caught.value)


def everything(client: AmazonClient, window: SearchWindow) -> list[SearchPage]:
    pages = [client.orders.search_orders(window)]
    while token := pages[-1].next_page_token:
        pages.append(client.orders.search_orders(window, page_token=token))
    return pages


@pytest.mark.parametrize("orders_api", VERSIONS)
def test_a_search_reads_all_pages_and_ends_before_what_amazon_cannot_list_yet(
    open_sandboxed: OpenSandboxed, sandbox: Sandbox, orders_api: OrdersApi
) -> None:
    client = open_sandboxed(orders_api)
    started = sandbox.clock.now()
    placed = {sandbox.add_order(notify=False).order_id for _ in range(120)}
    amazons = {sandbox.add_order(notify=False, fulfilled_by="AMAZON").order_id for _ in range(3)}
    sandbox.clock.advance(timedelta(minutes=10))
    late = sandbox.add_order(notify=False).order_id
    window = SearchWindow(started, sandbox.clock.now() + timedelta(hours=1), (MARKETPLACE,))
    # The client's clock is ten minutes behind Amazon's; it learns so from the first answer that it gets.
    client.sellers.marketplace_participations()
    pages = everything(client, window)
    found = [order.order_id for page in pages for order in page.orders]
    assert len(pages) == 2
    assert set(found) == placed | amazons
    assert late not in found
    listed_until = pages[0].listed_until
    assert listed_until is not None
    assert timedelta(minutes=2) < sandbox.clock.now() - listed_until < timedelta(minutes=4)
    merchants = everything(client, replace(window, fulfilled_by=(MERCHANT,)))
    assert {order.order_id for page in merchants for order in page.orders} == placed


@pytest.mark.parametrize("orders_api", VERSIONS)
def test_a_window_that_has_not_begun_to_be_listed_costs_no_call(
    open_sandboxed: OpenSandboxed, sandbox: Sandbox, orders_api: OrdersApi
) -> None:
    now = datetime.now(UTC)
    before = sum(sandbox.amazon.ledger.requests.values())
    page = open_sandboxed(orders_api).orders.search_orders(SearchWindow(now, now, (MARKETPLACE,)))
    assert (page.orders, page.next_page_token, page.listed_until) == ((), None, now)
    assert sum(sandbox.amazon.ledger.requests.values()) == before


@pytest.mark.parametrize("orders_api", VERSIONS)
def test_a_listing_that_goes_in_a_circle_is_an_error(
    open_sandboxed: OpenSandboxed, sandbox: Sandbox, orders_api: OrdersApi
) -> None:
    client = open_sandboxed(orders_api)
    started = sandbox.clock.now()
    for _ in range(101):
        sandbox.add_order(notify=False)
    sandbox.clock.advance(timedelta(minutes=5))
    client.sellers.marketplace_participations()
    sandbox.amazon.faults.add("duplicate_page", times=None)
    with pytest.raises(AmazonProtocolError) as caught:
        everything(client, SearchWindow(started, sandbox.clock.now(), (MARKETPLACE,)))
    assert "circle" in str(caught.value)
    assert "begin the window again" in str(caught.value)


@pytest.mark.parametrize("orders_api", VERSIONS)
def test_a_page_token_that_is_no_longer_good_says_to_begin_again(
    open_sandboxed: OpenSandboxed, sandbox: Sandbox, orders_api: OrdersApi
) -> None:
    client = open_sandboxed(orders_api)
    started = sandbox.clock.now()
    for _ in range(101):
        sandbox.add_order(notify=False)
    sandbox.clock.advance(timedelta(minutes=5))
    client.sellers.marketplace_participations()
    window = SearchWindow(started, sandbox.clock.now(), (MARKETPLACE,))
    token = client.orders.search_orders(window).next_page_token
    assert token is not None
    # Another window under the same token is what Amazon refuses, and sellers lost hours to.
    with pytest.raises(AmazonPageTokenInvalid) as caught:
        client.orders.search_orders(replace(window, updated_after=started + timedelta(seconds=1)), page_token=token)
    assert "Begin the same window again" in str(caught.value)
    sandbox.clock.advance(timedelta(hours=25))
    client.sellers.marketplace_participations()
    asked = sandbox.amazon.ledger.requests.total()
    with pytest.raises(AmazonPageTokenInvalid):
        client.orders.search_orders(window, page_token=token)
    assert sandbox.amazon.ledger.requests.total() == asked
    with pytest.raises(AmazonPageTokenInvalid):
        client.orders.search_orders(window, page_token="not one of ours")


def test_the_first_search_of_a_process_whose_clock_is_ahead_is_mended_once(
    open_sandboxed: OpenSandboxed, sandbox: Sandbox
) -> None:
    client = open_sandboxed(clock=lambda: sandbox.clock.now() + timedelta(minutes=10))
    now = sandbox.clock.now()
    page = client.orders.search_orders(SearchWindow(now - timedelta(hours=1), now + timedelta(hours=1), (MARKETPLACE,)))
    assert page.listed_until is not None
    assert page.listed_until < now
    assert abs(client.clock.now() - now) < timedelta(seconds=10)


def test_v0_asks_for_one_restricted_token_for_many_orders_and_none_for_states(
    open_sandboxed: OpenSandboxed, sandbox: Sandbox, audit: Recorded
) -> None:
    before = len(sandbox.amazon.ledger.restricted_grants)
    placed = [sandbox.add_order().order_id for _ in range(4)]
    first, second = open_sandboxed("v0"), open_sandboxed("v0")
    first.orders.list_orders(placed)
    first.orders.get_order(placed[0])
    assert len(sandbox.amazon.ledger.restricted_grants) == before
    assert audit.entries == []
    for client in (first, second):  # the second as another process would have it
        for order_id in placed:
            client.orders.get_order(order_id, OrderParts.SHIPPING_DETAILS)
        assert len(client.orders.list_orders(placed, OrderParts.SHIPPING_DETAILS).shipping_details) == 4
    grants = sandbox.amazon.ledger.restricted_grants[before:]
    assert len(grants) == 1
    assert grants[0].resources == (
        ("GET", "/orders/v0/orders/{orderId}", ("shippingAddress",)),
        ("GET", "/orders/v0/orders", ("shippingAddress",)),
        ("GET", "/orders/v0/orders/{orderId}/orderItems", ("buyerInfo",)),
    )
    actions = [action for action, *_ in audit.entries]
    assert actions.count("amazon_restricted_token") == 1
    assert actions.count("amazon_restricted_call") == 8 + 2 * (1 + 4), "a list counts itself, and each order it shows"


def test_v0_pages_through_all_items_of_an_order(open_sandboxed: OpenSandboxed, sandbox: Sandbox) -> None:
    sandbox.amazon.options.items_page_size = 2
    placed = sandbox.add_order(items=[{}, {}, {}, {}, GIFT])
    fetched = open_sandboxed("v0").orders.get_order(placed.order_id, OrderParts.SHIPPING_DETAILS)
    assert [item.order_item_id for item in fetched.order.items] == [item.item_id for item in placed.items]
    assert fetched.shipping_details is not None
    assert list(fetched.shipping_details.items) == [placed.items[-1].item_id]


def test_v0_item_pages_that_go_in_a_circle_end(open_canned: OpenCanned, amazon: CannedAmazon) -> None:
    order = {"AmazonOrderId": "1", "LastUpdateDate": "2026-11-20T10:00:00Z", "PurchaseDate": "2026-11-20T10:00:00Z"}
    page = {"AmazonOrderId": "1", "OrderItems": [], "NextToken": "again"}
    amazon.lay(Canned(body={"payload": order}), Canned(body={"payload": page}))
    with pytest.raises(AmazonProtocolError, match="circle"):
        open_canned("v0").orders.get_order("1")


def test_a_missing_role_stays_silent_in_2026_and_is_told_by_the_tokens_api_for_v0(
    open_sandboxed: OpenSandboxed, sandbox: Sandbox
) -> None:
    placed = sandbox.add_order()
    sandbox.amazon.accounts.remove_role(sandbox.seller_id)
    fetched = open_sandboxed().orders.get_order(placed.order_id, OrderParts.SHIPPING_DETAILS)
    assert fetched.shipping_details is None or not fetched.shipping_details.address.is_shippable
    with pytest.raises(AmazonRoleMissing) as caught:
        open_sandboxed("v0").orders.get_order(placed.order_id, OrderParts.SHIPPING_DETAILS)
    assert "Direct-to-Consumer Shipping" in str(caught.value)
    assert open_sandboxed("v0").orders.get_order(placed.order_id).order.status == OrderStatus.UNSHIPPED


@pytest.mark.parametrize("as_empty", [True, False])
@pytest.mark.parametrize("orders_api", VERSIONS)
def test_a_blank_address_is_not_shippable_and_comes_later(
    open_sandboxed: OpenSandboxed, sandbox: Sandbox, orders_api: OrdersApi, as_empty: bool
) -> None:
    sandbox.amazon.options.blank_address_as_empty_strings = as_empty
    placed = sandbox.add_order()
    sandbox.amazon.faults.add("blank_address", order_id=placed.order_id, seconds=60)
    client = open_sandboxed(orders_api)
    early = client.orders.get_order(placed.order_id, OrderParts.SHIPPING_DETAILS)
    assert early.shipping_details is None or not early.shipping_details.address.is_shippable
    sandbox.clock.advance(timedelta(seconds=61))
    late = client.orders.get_order(placed.order_id, OrderParts.SHIPPING_DETAILS)
    assert late.shipping_details is not None
    assert late.shipping_details.address.is_shippable


@pytest.mark.parametrize("orders_api", VERSIONS)
@pytest.mark.parametrize(
    "fault", ["html_500", "html_503", "empty_500", "error_500", "error_503", "reset", "reset_after", "html_500_after",
              "expired_token", "throttle"],
)  # fmt: skip
def test_each_passing_fault_of_amazons_is_survived_and_nothing_is_lost(
    open_sandboxed: OpenSandboxed, sandbox: Sandbox, orders_api: OrdersApi, fault: str
) -> None:
    placed = sandbox.add_order(items=[GIFT])
    client = open_sandboxed(orders_api)
    sandbox.amazon.faults.add(fault, "getOrder" if orders_api == "2026-01-01" else "v0.getOrder")
    fetched = client.orders.get_order(placed.order_id, OrderParts.SHIPPING_DETAILS)
    assert fetched.shipping_details is not None
    assert fetched.shipping_details.address.is_shippable
    assert all(one.breaker == "closed" and one.consecutive_failures == 0 for one in client.limits.report())


def test_a_slow_answer_ends_with_the_read_time_out_and_is_asked_again(
    open_sandboxed: OpenSandboxed, sandbox: Sandbox
) -> None:
    placed = sandbox.add_order()
    sandbox.amazon.faults.add("slow", "getOrder", seconds=3)
    client = open_sandboxed(timeouts=(1.0, 0.5))
    assert client.orders.get_order(placed.order_id).order.order_id == placed.order_id


def test_tokens_that_expire_in_mid_run_are_replaced_also_restricted_ones(
    open_sandboxed: OpenSandboxed, sandbox: Sandbox
) -> None:
    placed = sandbox.add_order()
    client = open_sandboxed("v0")
    client.orders.get_order(placed.order_id, OrderParts.SHIPPING_DETAILS)
    sandbox.amazon.accounts.expire_tokens()
    fetched = client.orders.get_order(placed.order_id, OrderParts.SHIPPING_DETAILS)
    assert fetched.shipping_details is not None
    assert fetched.shipping_details.address.is_shippable


@pytest.mark.parametrize(("today", "warned"), [(date(2026, 11, 26), False), (date(2026, 11, 27), True)])
def test_v0_says_in_the_log_when_its_end_is_near(caplog: pytest.LogCaptureFixture, today: date, warned: bool) -> None:
    warn_of_removal(today)
    assert ("2027-03-27" in caplog.text) == warned
    assert ("set it to 2026-01-01" in caplog.text) == warned


@pytest.mark.parametrize("orders_api", VERSIONS)
def test_a_verification_is_read_without_the_buyers_answers(
    open_sandboxed: OpenSandboxed, sandbox: Sandbox, orders_api: OrdersApi
) -> None:
    placed = sandbox.add_order(verification="Pending", merchant_reviews=True, dosage_label=True)
    verification = open_sandboxed(orders_api).verifications.get_verification(placed.order_id)
    assert verification == Verification("Pending", needs_merchant=True, dosage_label=True)
    assert "Pet-" not in repr(verification)


def test_v0_says_which_orders_are_regulated_and_which_amazon_picks_up(
    open_sandboxed: OpenSandboxed, sandbox: Sandbox
) -> None:
    client = open_sandboxed("v0")
    regulated = sandbox.add_order(verification="Approved")
    easy = sandbox.add_order(easy_ship_status="PendingSchedule")
    assert client.orders.get_order(regulated.order_id).order.programs == {"REGULATED"}
    assert client.orders.get_order(easy.order_id).order.programs == {"AMAZON_EASY_SHIP"}


def test_a_page_of_whole_orders_holds_what_a_call_for_each_would_and_every_reading_is_recorded(
    open_sandboxed: OpenSandboxed, sandbox: Sandbox, audit: Recorded
) -> None:
    client, started = open_sandboxed(), sandbox.clock.now()
    placed = [sandbox.add_order(items=[GIFT, {}]).order_id for _ in range(3)]
    broken = sandbox.add_order().order_id
    sandbox.amazon.faults.add("unreadable_entry", "searchOrders", order_id=broken)
    sandbox.clock.advance(timedelta(minutes=2, seconds=8))
    client.sellers.marketplace_participations()
    parts = OrderParts.SHIPPING_DETAILS | OrderParts.PACKAGES
    page = client.orders.search_orders(SearchWindow(started, sandbox.clock.now(), (MARKETPLACE,)), parts=parts)
    recorded = [(order_id, outcome) for _, order_id, _, outcome, _ in audit.entries]
    assert recorded == [(None, "requested"), *((order_id, "requested") for order_id in placed)]
    alone = [client.orders.get_order(order_id, parts) for order_id in placed]
    assert page.orders == tuple(fetched.order for fetched in alone)
    assert page.shipping_details == {fetched.order.order_id: fetched.shipping_details for fetched in alone}
    assert [entry.order_id for entry in page.unreadable] == [broken]
    assert str(sandbox.amazon.orders[placed[0]].address.name) not in repr(page)
    state = client.orders.search_orders(
        SearchWindow(started, sandbox.clock.now(), (MARKETPLACE,)), parts=OrderParts.STATE
    )
    assert state.shipping_details == {}
    assert len(audit.entries) == 1 + 3 + 3


def test_what_reading_costs_is_known_without_spending_anything(open_sandboxed: OpenSandboxed, sandbox: Sandbox) -> None:
    client = open_sandboxed()
    unused = client.orders.read_quota()
    assert unused == ReadQuota(single=Bucket(29, 0.5, 30, kept=10), listing=Bucket(19, 0.0056, 20, kept=8))
    client.orders.get_order(sandbox.add_order().order_id)
    used = client.orders.read_quota()
    assert used.single.rate > unused.single.rate, "as Amazon announces it"
    assert used.listing == unused.listing
    client.limits.throttled(GET_ORDER)
    assert client.orders.read_quota().single.tokens == 0, "at rest after a 429"
