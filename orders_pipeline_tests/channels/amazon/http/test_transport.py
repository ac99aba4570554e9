"""What the client does when Amazon does not answer as it should: the state afterwards, and what the error says."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import requests
from pydantic import SecretStr

from orders_pipeline.channels.amazon.client import AmazonClient, open_amazon
from orders_pipeline.channels.amazon.errors import (
    AmazonAuthError,
    AmazonBadRequest,
    AmazonError,
    AmazonNotFound,
    AmazonProtocolError,
    AmazonRevoked,
    AmazonRoleMissing,
    AmazonThrottled,
    AmazonTokenExpired,
    AmazonUnavailable,
    AmazonWrongRegion,
    LimitNotBefore,
)
from orders_pipeline.channels.amazon.quota.limits import LimitState
from orders_pipeline.channels.amazon.quota.operations import GET_ORDER
from orders_pipeline.database.engine import Database
from orders_pipeline.model.order import OrderParts, Priority
from orders_pipeline.vault.providers.keyring import LocalKeyring
from orders_pipeline_tests.channels.amazon.canned import Canned, CannedAmazon, errors
from orders_pipeline_tests.channels.amazon.conftest import Naps, Recorded, account
from orders_pipeline_tests.conftest import SELLER

ORDER_ID = "111-1111111-1111111"
ORDER = {
    "order": {
        "orderId": ORDER_ID,
        "createdTime": "2026-11-20T10:00:00Z",
        "lastUpdatedTime": "2026-11-20T10:00:00.123Z",
        "salesChannel": {"channelName": "AMAZON", "marketplaceId": "ATVPDKIKX0DER"},
        "fulfillment": {"fulfillmentStatus": "UNSHIPPED", "fulfilledBy": "MERCHANT"},
        "orderItems": [{"orderItemId": "1", "quantityOrdered": 1, "product": {}}],
    }
}
HTML = "<html><h1>Service Unavailable</h1><p>Jane Doe, 12 Secret Street</p></html>"


def limit(client: AmazonClient, operation: str = "getOrder") -> LimitState:
    return next(one for one in client.limits.report() if one.operation == operation)


def failure_of(client: AmazonClient, amazon: CannedAmazon, answer: Canned, seconds: float = 60.0) -> AmazonError:
    amazon.lay(answer)
    with pytest.raises(AmazonError) as caught:
        client.orders.get_order(ORDER_ID, deadline_seconds=seconds)
    return caught.value


def test_a_request_carries_the_token_an_agent_and_time_outs(client: AmazonClient, amazon: CannedAmazon) -> None:
    amazon.lay(Canned(body=ORDER))
    client.orders.get_order(ORDER_ID)
    [asked] = amazon.asked
    assert asked.headers["x-amz-access-token"] == "Atza|canned-1"
    assert asked.headers["User-Agent"].startswith("orders_pipeline/0.1 (Language=Python/3")
    assert asked.timeout == (5.0, 30.0)


@pytest.mark.parametrize(
    "failure",
    [
        Canned(500, errors("InternalFailure", "We encountered an internal error.")),
        Canned(503, text=HTML),
        Canned(502, text=""),
        Canned(error=requests.ConnectionError("Connection reset by peer")),
        Canned(error=requests.ReadTimeout("read timed out")),
        Canned(error=requests.exceptions.ChunkedEncodingError("broken")),
    ],
)
def test_a_failing_service_is_retried_and_never_an_empty_answer(
    client: AmazonClient, amazon: CannedAmazon, naps: Naps, failure: Canned
) -> None:
    amazon.lay(failure, failure, Canned(body=ORDER))
    assert client.orders.get_order(ORDER_ID, deadline_seconds=60).order.order_id == ORDER_ID
    assert len(amazon.asked) == 3
    assert len(naps.slept) == 2
    assert all(0 <= nap <= 2 for nap in naps.slept)
    # Each attempt took a token of its own; the success has closed the account of failures.
    assert (limit(client).granted, limit(client).consecutive_failures) == (3, 0)


@pytest.mark.parametrize(
    ("failure", "kind", "status"),
    [
        (Canned(503, text=HTML), AmazonUnavailable, 503),
        (Canned(500, text=""), AmazonUnavailable, 500),
        (Canned(error=requests.ConnectionError("reset")), AmazonUnavailable, None),
        (Canned(200, text=HTML), AmazonProtocolError, 200),
        (Canned(200, text=""), AmazonProtocolError, 200),
        (Canned(200, text="[]"), AmazonProtocolError, 200),
        (Canned(200, body={}), AmazonProtocolError, 200),
        (Canned(200, body=errors("InternalFailure", "half an answer")), AmazonProtocolError, 200),
        (Canned(302, text="", headers={"Location": "https://elsewhere.test/"}), AmazonProtocolError, 302),
        (Canned(404, text=HTML), AmazonProtocolError, 404),
        (Canned(404, errors("NotFound")), AmazonNotFound, 404),
        (Canned(400, errors("InvalidInput", "orderId is wrong")), AmazonBadRequest, 400),
        (Canned(400, text=HTML), AmazonBadRequest, 400),
        (Canned(413, text=""), AmazonBadRequest, 413),
        (Canned(403, {"message": "Forbidden"}), AmazonAuthError, 403),
    ],
)
def test_a_malformed_response_is_a_typed_error_without_its_body(
    client: AmazonClient, amazon: CannedAmazon, caplog: pytest.LogCaptureFixture, failure: Canned,
    kind: type[AmazonError], status: int | None,
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    error = failure_of(client, amazon, failure)
    assert type(error) is kind
    assert (error.operation, error.status) == ("getOrder", status)
    assert SELLER in str(error)
    assert any(advice in str(error).lower() for advice in ("look", "compare", "report it", "sending it again"))
    if status is not None:
        assert error.request_id == "req-canned"
        assert "req-canned" in str(error)
    for seen in (str(error), repr(error), caplog.text):
        assert "Jane Doe" not in seen
        assert "Atza|" not in seen
    assert error.__cause__ is None


def test_what_is_wrong_with_our_request_is_told_in_amazons_words(client: AmazonClient, amazon: CannedAmazon) -> None:
    error = failure_of(client, amazon, Canned(400, errors("Invalid Input", "PackageReferenceId: is invalid")))
    assert error.code == "InvalidInput"
    assert "PackageReferenceId: is invalid" in str(error)
    assert len(amazon.asked) == 1


def test_a_429_without_a_header_rests_the_bucket_and_is_told_as_a_time(
    client: AmazonClient, amazon: CannedAmazon
) -> None:
    error = failure_of(client, amazon, Canned(429, errors("QuotaExceeded", "You exceeded your quota.")), seconds=1.5)
    # At 0.5 a second the next token is two seconds away: not within the deadline.
    assert isinstance(error, LimitNotBefore | AmazonThrottled)
    assert len(amazon.asked) == 1
    assert limit(client).throttled == 1
    assert limit(client).blocked_until is not None
    assert limit(client).tokens < 0.5


def test_a_429_is_tried_again_when_the_deadline_allows_it(client: AmazonClient, amazon: CannedAmazon) -> None:
    amazon.lay(Canned(429, text=""), Canned(body=ORDER))
    assert client.orders.get_order(ORDER_ID, deadline_seconds=60).order.order_id == ORDER_ID
    assert limit(client).throttled == 1


def test_a_service_that_goes_on_failing_is_left_alone_by_the_breaker(
    client: AmazonClient, amazon: CannedAmazon
) -> None:
    error = failure_of(client, amazon, Canned(503, text=HTML))
    assert isinstance(error, AmazonUnavailable)
    assert len(amazon.asked) == 4
    failure_of(client, amazon, Canned(503, text=HTML))
    asked = len(amazon.asked)
    assert limit(client).breaker == "open"
    error = failure_of(client, amazon, Canned(503, text=HTML))
    assert isinstance(error, LimitNotBefore)
    assert len(amazon.asked) == asked


def test_the_announced_rate_and_amazons_clock_are_learnt_from_any_answer(
    client: AmazonClient, amazon: CannedAmazon
) -> None:
    later = datetime.now(UTC) + timedelta(hours=5)
    headers = {"x-amzn-RateLimit-Limit": "0.25", "Date": format_datetime(later, usegmt=True)}
    failure_of(client, amazon, Canned(404, errors("NotFound"), headers=headers))
    assert limit(client).rate == 0.25
    assert client.clock.known
    assert abs(client.clock.now() - later) < timedelta(minutes=1)


def test_an_expired_token_is_replaced_once_and_the_call_goes_through(
    client: AmazonClient, amazon: CannedAmazon
) -> None:
    amazon.lay(Canned(403, errors("Unauthorized", "denied", "The access token has expired.")), Canned(body=ORDER))
    client.orders.get_order(ORDER_ID)
    assert [asked.headers["x-amz-access-token"] for asked in amazon.asked] == ["Atza|canned-1", "Atza|canned-2"]
    assert limit(client).granted == 2


@pytest.mark.parametrize(
    ("status", "message", "details", "kind", "hint"),
    [
        (403, "Access to requested resource is denied.", "", AmazonRoleMissing, "Direct-to-Consumer Shipping"),
        (
            403,
            "Access to requested resource is denied.",
            "The LWA secret token you provided has expired.",
            AmazonTokenExpired,
            "AMAZON_LWA_CLIENT_SECRET",
        ),
        (
            403,
            "Access to requested resource is denied.",
            "The access token you provided has expired.",
            AmazonTokenExpired,
            "clock",
        ),
        (
            403,
            "Access to requested resource is denied.",
            "The access token you provided is revoked, malformed or invalid.",
            AmazonRevoked,
            "authorise the application again",
        ),
        (403, "The marketplaces you provided are not valid for region", "", AmazonWrongRegion, "AMAZON_REGION"),
        (401, "denied", "", AmazonRoleMissing, "developer profile"),
    ],
)
def test_a_refusal_after_a_fresh_token_is_classified_and_says_what_to_do(
    client: AmazonClient, amazon: CannedAmazon, status: int, message: str, details: str,
    kind: type[AmazonError], hint: str,
) -> None:  # fmt: skip
    error = failure_of(client, amazon, Canned(status, errors("Unauthorized", message, details)))
    assert type(error) is kind
    assert hint in str(error)
    assert len(amazon.asked) == 2
    assert len(amazon.logins) == 2
    # A refusal is an answer: it does not count against the service.
    assert limit(client).consecutive_failures == 0


def test_a_lost_answer_is_reported_as_lost_even_when_the_quota_ends_the_retries(
    client: AmazonClient, amazon: CannedAmazon
) -> None:
    amazon.lay(Canned(error=requests.ReadTimeout("slow")))
    for _ in range(28):
        client.limits.acquire(GET_ORDER, Priority.EVENT, client.transport.deadline(0.5))
    with pytest.raises(AmazonUnavailable) as caught:
        client.orders.get_order(ORDER_ID, deadline_seconds=1.8)
    assert "no answer" in str(caught.value)


def test_an_answer_for_another_order_is_not_believed(client: AmazonClient, amazon: CannedAmazon) -> None:
    amazon.lay(Canned(body=ORDER))
    with pytest.raises(AmazonProtocolError):
        client.orders.get_order("222-2222222-2222222")


@pytest.mark.parametrize("field", ["orderId", "lastUpdatedTime", "orderItems"])
def test_an_order_without_a_required_field_is_an_error_that_names_it(
    client: AmazonClient, amazon: CannedAmazon, field: str
) -> None:
    body: dict[str, Any] = {"order": {name: value for name, value in ORDER["order"].items() if name != field}}
    body["order"]["buyer"] = {"buyerName": "Jane Doe"}
    error = failure_of(client, amazon, Canned(body=body))
    assert type(error) is AmazonProtocolError
    assert field in str(error)
    assert "Jane" not in str(error)


def test_no_restricted_call_is_sent_without_its_audit_entry(
    client: AmazonClient, amazon: CannedAmazon, audit: Recorded
) -> None:
    amazon.lay(Canned(body=ORDER))
    client.orders.get_order(ORDER_ID)
    assert audit.entries == []
    client.orders.get_order(ORDER_ID, OrderParts.SHIPPING_DETAILS)
    [(action, order_id, _, outcome, detail)] = audit.entries
    assert (action, order_id, outcome) == ("amazon_restricted_call", ORDER_ID, "requested")
    # The call's number, so that a failure can void it.
    assert detail["operation"] == "getOrder"
    assert detail["call"]
    audit.refuse = OSError("the log is full")
    sent = len(amazon.asked)
    with pytest.raises(OSError, match="the log is full"):
        client.orders.get_order(ORDER_ID, OrderParts.SHIPPING_DETAILS)
    assert len(amazon.asked) == sent


def test_an_endpoint_without_tls_is_refused_but_on_this_machine(database: Database, keys: LocalKeyring) -> None:
    # The settings refuse them too; whoever makes a client past them is refused all the same.
    for endpoint in ("spapi_endpoint", "lwa_endpoint"):
        own = account().model_copy(update={endpoint: "http://api.amazon.com"})
        with pytest.raises(ValueError, match="https"):
            open_amazon(own, database, keys)
    open_amazon(account(spapi_endpoint="http://127.0.0.1:1", lwa_endpoint="http://localhost:1"), database, keys).close()


def test_secrets_show_in_no_repr(client: AmazonClient) -> None:
    settings = account(client_secret=SecretStr("amzn1.oa2-cs.v1.hidden"))
    for shown in (repr(client), repr(settings)):
        assert "hidden" not in shown
        assert "Atzr|" not in shown
