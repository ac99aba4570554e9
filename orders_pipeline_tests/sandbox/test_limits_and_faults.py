"""Quotas, tokens, and what goes wrong on demand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import requests

from orders_pipeline.sandbox.amazon.limits import UsagePlans
from orders_pipeline.sandbox.clock import Clock
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline_tests.sandbox.honest_client import HonestClient
from orders_pipeline_tests.sandbox.test_confirm_shipment import body_for

QUOTA_EXCEEDED = {
    "errors": [
        {"code": "QuotaExceeded", "message": "You exceeded your quota for the requested resource.", "details": ""}
    ]
}


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    for scale in (1.0, 60.0):
        clock = Clock()
        plans = UsagePlans(clock, scale)
        plans.set_plan("searchOrders", 0.0056, 20)
        burst = sum(plans.take("app", "seller", "searchOrders") for _ in range(40))
        # The clock runs while the test does; at sixty-fold speed that is still less than one token.
        assert burst == 20
        clock.advance(timedelta(seconds=1 / 0.0056 / scale))
        assert [plans.take("app", "seller", "searchOrders") for _ in range(2)] == [True, False]
        assert plans.take("app", "another seller", "searchOrders")
        assert plans.announced("searchOrders") == f"{0.0056 * scale:g}"


def test_beyond_the_quota_the_answer_is_amazons_and_carries_no_rate() -> None:
    with Sandbox(time_scale=1.0) as sandbox:
        client = HonestClient(sandbox.environment())
        order = sandbox.add_order(notify=False)
        answers = [client.get_order(order.order_id) for _ in range(32)]
        good, bad = answers[0], answers[-1]
        assert [answer.status_code for answer in answers].count(200) in (30, 31)
        assert good.headers["x-amzn-RateLimit-Limit"] == "0.5"
        assert (bad.status_code, bad.json()) == (429, QUOTA_EXCEEDED)
        assert "x-amzn-RateLimit-Limit" not in bad.headers
        assert all("x-amzn-RequestId" in answer.headers for answer in answers)
        assert sandbox.amazon.ledger.throttled["getOrder"] >= 1
        assert sandbox.ledger()["amazon"]["requests"]["getOrder"] == 32


def test_the_rate_is_announced_with_400_and_404_and_not_with_403(sandbox: Sandbox, client: HonestClient) -> None:
    assert client.get_order("bad").headers["x-amzn-RateLimit-Limit"] == "50000"
    assert client.get_order("111-0000000-0000000").headers["x-amzn-RateLimit-Limit"] == "50000"
    refused = client.amazon("GET", "/orders/2026-01-01/orders/111-0000000-0000000", token="Atza|forged")
    assert refused.status_code == 403
    assert "x-amzn-RateLimit-Limit" not in refused.headers


def test_without_a_token_or_a_user_agent_nothing_is_answered(sandbox: Sandbox, client: HonestClient) -> None:
    order = sandbox.add_order(notify=False)
    path = f"{sandbox.url}/orders/2026-01-01/orders/{order.order_id}"
    assert requests.get(path, timeout=5).status_code == 403
    assert client.get_order(order.order_id).status_code == 200
    silent = client.amazon("GET", f"/orders/2026-01-01/orders/{order.order_id}", headers={"User-Agent": ""})
    assert silent.status_code == 400


def test_tokens_expire_for_real_and_all_at_once_on_demand(sandbox: Sandbox) -> None:
    order = sandbox.add_order(notify=False)
    client = HonestClient(sandbox.environment())
    assert client.get_order(order.order_id).status_code == 200
    sandbox.clock.advance(timedelta(seconds=3600))
    expired = client.get_order(order.order_id)
    assert (expired.status_code, expired.json()["errors"][0]["code"]) == (403, "Unauthorized")
    fresh = HonestClient(sandbox.environment())
    assert fresh.get_order(order.order_id).status_code == 200
    sandbox.amazon.accounts.expire_tokens()
    assert fresh.get_order(order.order_id).status_code == 403


def token_request(sandbox: Sandbox, **changes: str | None) -> requests.Response:
    environment = sandbox.environment()
    form: dict[str, str | None] = {
        "grant_type": "refresh_token",
        "refresh_token": environment["AMAZON_LWA_REFRESH_TOKEN"],
        "client_id": environment["AMAZON_LWA_CLIENT_ID"],
        "client_secret": environment["AMAZON_LWA_CLIENT_SECRET"],
        **changes,
    }
    present = {name: value for name, value in form.items() if value is not None}
    return requests.post(f"{sandbox.url}/auth/o2/token", data=present, timeout=5)


GRANTLESS: dict[str, str | None] = {"grant_type": "client_credentials", "refresh_token": None}


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"refresh_token": "Atzr|unknown"}, 400, "invalid_grant"),
        ({"client_secret": "old"}, 401, "invalid_client"),
        ({"client_id": "someone"}, 401, "invalid_client"),
        ({"scope": "sellingpartnerapi::notifications"}, 400, "invalid_request"),
        ({**GRANTLESS, "scope": "everything"}, 400, "invalid_scope"),
        ({**GRANTLESS}, 400, "invalid_scope"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ],
)
def test_login_refuses_in_its_own_words(
    sandbox: Sandbox, changes: dict[str, str | None], status: int, error: str
) -> None:
    answer = token_request(sandbox, **changes)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.json()["error_description"]


def test_two_client_secrets_are_good_during_a_rotation(sandbox: Sandbox) -> None:
    secrets = sandbox.amazon.accounts.application.client_secrets
    secrets.insert(0, "the new one")
    try:
        assert token_request(sandbox, client_secret="the new one").status_code == 200
        assert token_request(sandbox, client_secret=secrets[1]).status_code == 200
    finally:
        secrets.pop(0)


def test_a_revoked_authorisation_ends_the_tokens_and_the_refresh_token(sandbox: Sandbox) -> None:
    client, order = HonestClient(sandbox.environment()), sandbox.add_order(notify=False)
    assert client.get_order(order.order_id).status_code == 200
    sandbox.amazon.accounts.revoke(sandbox.seller_id)
    assert client.get_order(order.order_id).status_code == 403
    assert token_request(sandbox).json()["error"] == "invalid_grant"


def test_a_grantless_token_opens_no_order_and_a_sellers_token_no_destination(
    sandbox: Sandbox, client: HonestClient
) -> None:
    grantless = token_request(sandbox, **GRANTLESS, scope="sellingpartnerapi::notifications").json()["access_token"]
    destinations = "/notifications/v1/destinations"
    assert client.amazon("GET", destinations, token=grantless).status_code == 200
    assert client.amazon("GET", destinations).status_code == 403
    order = sandbox.add_order(notify=False)
    path = f"/orders/2026-01-01/orders/{order.order_id}"
    assert client.amazon("GET", path, token=grantless).status_code == 403


@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [
        ("throttle", 429, "QuotaExceeded"),
        ("html_500", 500, "<html>"),
        ("html_503", 503, "<html>"),
        ("empty_500", 500, ""),
        ("empty_200", 200, ""),
        ("error_500", 500, "InternalFailure"),
        ("forbidden", 403, '{"message":"Forbidden"}'),
        ("expired_token", 403, "has expired"),
        ("access_denied", 403, "Unauthorized"),
    ],
)
def test_each_fault_strikes_once_and_then_all_is_well(
    sandbox: Sandbox, client: HonestClient, kind: str, status: int, body: str
) -> None:
    order = sandbox.add_order(notify=False)
    sandbox.amazon.faults.add(kind, "getOrder", order_id=order.order_id)
    struck = client.get_order(order.order_id)
    assert struck.status_code == status
    assert body in struck.text
    assert bool(struck.text) == bool(body)
    assert client.get_order(order.order_id).status_code == 200


def test_a_throttle_on_demand_may_carry_the_header_that_amazon_leaves_out(
    sandbox: Sandbox, client: HonestClient
) -> None:
    order = sandbox.add_order(notify=False)
    sandbox.amazon.faults.add("throttle", "getOrder", with_header=True)
    assert client.get_order(order.order_id).headers["x-amzn-RateLimit-Limit"] == "50000"


def test_a_connection_may_be_reset_before_or_after_the_work_is_done(sandbox: Sandbox, client: HonestClient) -> None:
    order = sandbox.add_order(notify=False)
    for kind, packages in (("reset", 0), ("reset_after", 1)):
        sandbox.amazon.faults.add(kind, "confirmShipment")
        with pytest.raises(requests.ConnectionError):
            client.confirm(order.order_id, body_for(sandbox, order))
        assert len(order.packages) == packages


def test_an_answer_may_be_slow(sandbox: Sandbox, client: HonestClient) -> None:
    order = sandbox.add_order(notify=False)
    sandbox.amazon.faults.add("slow", "getOrder", seconds=0.3)
    assert client.get_order(order.order_id).elapsed >= timedelta(seconds=0.3)


def test_a_role_may_be_missing_for_one_call(sandbox: Sandbox, client: HonestClient) -> None:
    order = sandbox.add_order(notify=False)
    sandbox.amazon.faults.add("missing_role", "getOrder")
    seen: list[Any] = [client.get_order(order.order_id).json()["order"] for _ in range(2)]
    assert ["buyer" in one for one in seen] == [False, True]


def test_a_path_that_amazon_does_not_have_is_refused_at_the_front_door(client: HonestClient) -> None:
    assert client.amazon("GET", "/orders/v1/orders").status_code == 403
