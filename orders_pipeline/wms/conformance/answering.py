"""Promises of what goes wrong on the way: a proxy's page is no answer, and no call waits for ever."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import cast

from orders_pipeline.wms.conformance.ends import Broken, expect
from orders_pipeline.wms.conformance.front import Page
from orders_pipeline.wms.conformance.promise import Promise
from orders_pipeline.wms.conformance.trial import Trial, buyers_words
from orders_pipeline.wms.port import (
    Capability,
    FulfillmentOrder,
    WarehouseError,
    WarehousePort,
    WarehouseUnauthorized,
    WarehouseUnavailable,
)

WRONG_TOKEN = "a-token-that-nobody:gave-out"  # noqa: S105 - opens nothing
WHY = "a reason"

CALLS: dict[str, tuple[Capability | None, Callable[[WarehousePort, FulfillmentOrder], object]]] = {
    "push": (None, lambda adapter, order: adapter.push(order)),
    "find": (None, lambda adapter, order: adapter.find(order.order_ref)),
    "poll": (None, lambda adapter, _: adapter.poll(None, 10)),
    "hold": (Capability.HOLD, lambda adapter, order: adapter.hold(order.order_ref, WHY)),
    "release": (Capability.HOLD, lambda adapter, order: adapter.release(order.order_ref, WHY)),
    "cancel": (Capability.CANCEL, lambda adapter, order: adapter.cancel(order.order_ref, WHY)),
    "erase_pii": (Capability.ERASE_PII, lambda adapter, order: adapter.erase_pii(order.order_ref)),
    "read_stock": (Capability.STOCK, lambda adapter, _: adapter.read_stock(None, 10)),
}


def _declared(trial: Trial) -> dict[str, Callable[[WarehousePort, FulfillmentOrder], object]]:
    capabilities = {None, *trial.adapter.capabilities}
    return {name: call for name, (needed, call) in CALLS.items() if needed in capabilities}


def _each_call(trial: Trial, kind: type[WarehouseError], page: Page, what: str) -> None:
    order = trial.pushed(1)
    for name, call in _declared(trial).items():
        with trial.front.striking(page, then=page):
            trial.raises(kind, lambda call=call: call(trial.adapter, order), f"{name}, answered by {what}")
    found = trial.adapter.find(order.order_ref)
    expect(found is not None and found.status == "accepted", f"{what} has changed the order")


def _answered_by(what: str, page: Page) -> Callable[[Trial], None]:
    return lambda trial: _each_call(trial, WarehouseUnavailable, page, what)


def _other_json(trial: Trial) -> None:
    for body in (b"{}", b'{"error": {"code": "maintenance"}}'):
        _each_call(trial, WarehouseError, Page(200, body, "application/json"), body.decode())


def _not_found_page(trial: Trial) -> None:
    order = trial.pushed(1)
    page = Page(404)
    with trial.front.striking(page, then=page):
        trial.raises(
            WarehouseUnavailable, lambda: trial.adapter.find(order.order_ref), "find, answered by a page of 404"
        )


def _forbidden(trial: Trial) -> None:
    order = trial.pushed(1)
    page = Page(403)
    for name in ("push", "find", "poll"):
        _, call = CALLS[name]
        with trial.front.striking(page, then=page):
            trial.raises(WarehouseError, lambda call=call: call(trial.adapter, order), f"{name}, answered by 403")


def _wrong_token(trial: Trial) -> None:
    order = trial.order(1)
    stranger = trial.open(WRONG_TOKEN)
    for name in ("push", "find", "poll"):
        _, call = CALLS[name]
        error = trial.raises(
            WarehouseUnauthorized, lambda call=call: call(stranger, order), f"{name} with a wrong token"
        )
        told = f"{error!r} {error}"
        expect(WRONG_TOKEN not in told, "the error tells the token")
        expect(not [word for word in buyers_words(order) if word in told], "the error names the buyer")
    expect(trial.adapter.find(order.order_ref) is None, "a push with a wrong token has arrived")


def _hang(trial: Trial) -> None:
    order = trial.pushed(1)
    # Side by side, as the pipeline's workers call: one after another they would take minutes.
    pool = ThreadPoolExecutor(len(CALLS))
    with trial.front.striking("hang", then="hang"):
        calls = {pool.submit(call, trial.adapter, order): name for name, call in _declared(trial).items()}
        ended, late = wait(calls, timeout=trial.call_seconds)
    # What goes on has a server again that answers.
    pool.shutdown(wait=False)
    names = ", ".join(sorted(calls[one] for one in late))
    expect(not late, f"a call took longer than the {trial.call_seconds:.0f} s of a worker's lease: {names}")
    for one in ended:
        trial.raises(WarehouseUnavailable, one.result, f"{calls[one]}, by a server that never answers")


def _capabilities(trial: Trial) -> None:
    # As whatever somebody's adapter may have there.
    declared = cast(object, trial.adapter.capabilities)
    if not isinstance(declared, frozenset):
        raise Broken(f"capabilities is a {type(declared).__name__}, not a frozenset")
    unknown = sorted(str(one) for one in declared - {*Capability})
    expect(not unknown, f"declared is what the port does not know: {', '.join(unknown)}")
    expect(declared == trial.open().capabilities, "opened again, the adapter declares other capabilities")


def _shows_no_token(trial: Trial) -> None:
    secret = trial.token
    expect(secret not in f"{trial.adapter!r} {trial.adapter}", "the adapter's own text tells the token")


PROMISES = (
    Promise("answer.html_502", "A proxy's page with 502 is no answer: every call ends in WarehouseUnavailable.",
            "issue 12: a server that is upgraded and answers HTML", _answered_by("a page with 502", Page(502))),
    Promise("answer.html_200", "So is a page with 200: it is neither a success nor an empty list.",
            "issue 12", _answered_by("a page with 200", Page(200))),
    Promise("answer.empty_200", "So is an empty answer with 200.", "design: unknown outcomes",
            _answered_by("nothing, with 200", Page(200, b"", "application/json"))),
    Promise("answer.other_json", "So is JSON of another form with 200, as a service in the warehouse's place answers: "
            "every call ends in an error.", "port: the outcome is unknown", _other_json),
    Promise("answer.throttled", "Too many calls (429) is WarehouseUnavailable: asked again later.", "contract: 429",
            _answered_by("429", Page(429, b"{}", "application/json"))),
    Promise("answer.redirect", "A redirect is not followed: whoever answers there is not the warehouse.",
            "wms/rest", _answered_by("a redirect", Page(302, b"", location="https://elsewhere.invalid/"))),
    Promise("answer.html_404", "A proxy's 404 is not \"no such order\": believing it could ship the order twice.",
            "wms/rest", _not_found_page),
    Promise("answer.forbidden", "403 is one of the port's errors.", "wms/failures.py", _forbidden),
    Promise("answer.wrong_token", "A wrong token is WarehouseUnauthorized, has no effect, and is not told.",
            "wms/failures.py: 401", _wrong_token),
    Promise("answer.in_time", "A server that never answers ends every call in time, as unknown.",
            "port: every call is bounded in time", _hang),
    Promise("adapter.capabilities", "What the adapter can do is declared in the port's words, and stays so.",
            "issue 12: what an adapter can't do is declared", _capabilities),
    Promise("adapter.shows_no_token", "The adapter's own text does not show the token.", "no secret is printed",
            _shows_no_token),
)  # fmt: skip
