"""Promises of hold, release and cancel: the answer is what becomes of the order."""

from __future__ import annotations

from collections.abc import Callable

from orders_pipeline.wms.conformance.ends import expect
from orders_pipeline.wms.conformance.promise import Promise
from orders_pipeline.wms.conformance.trial import CARRIER, Trial, tracking_number
from orders_pipeline.wms.port import Capability, FulfillmentOrder

WHY = "cancelled at Amazon"


def _status(trial: Trial, order: FulfillmentOrder) -> str:
    found = trial.adapter.find(order.order_ref)
    expect(found is not None, "find does not know an order that was accepted")
    return found.status if found is not None else ""


def _hold_and_release(trial: Trial) -> None:
    trial.needs(Capability.HOLD)
    order = trial.pushed(1)
    for number in ("first", "second"):
        answer = trial.adapter.hold(order.order_ref, "buyer_asks_to_cancel")
        expect(answer == "done", f"the {number} hold of an order that nobody packs was answered {answer}")
        status = _status(trial, order)
        expect(status == "held", f"after the {number} hold find says {status!r}")
    for number in ("first", "second"):
        answer = trial.adapter.release(order.order_ref, "the reason is gone")
        expect(answer == "done", f"the {number} release was answered {answer}")
        expect(_status(trial, order) == "accepted", f"after the {number} release find says {_status(trial, order)!r}")
    trial.worker.ship(order.order_ref, carrier=CARRIER, tracking_number=tracking_number())
    expect(_status(trial, order) == "shipped", "an order that was released cannot be shipped")


def _hold_too_late(trial: Trial) -> None:
    trial.needs(Capability.HOLD)
    order = _shipped(trial)
    answer = trial.adapter.hold(order.order_ref, "buyer_asks_to_cancel")
    expect(answer == "too_late", f"the hold of an order that has left was answered {answer}")


def _cancel(trial: Trial) -> None:
    trial.needs(Capability.CANCEL)
    order = trial.pushed(2, 1)
    for number in ("first", "second"):
        answer = trial.adapter.cancel(order.order_ref, WHY)
        expect(answer == "cancelled", f"the {number} cancellation of an order that nobody packs was answered {answer}")
    expect(_status(trial, order) == "cancelled", f"after its cancellation find says {_status(trial, order)!r}")


def _cancelled_stays(trial: Trial) -> None:
    trial.needs(Capability.CANCEL)
    order = trial.pushed(1)
    trial.adapter.cancel(order.order_ref, WHY)
    answer = trial.adapter.push(order)
    expect(answer.answer == "cancelled", f"a push of an order that is cancelled there was answered {answer.answer}")
    expect(_status(trial, order) == "cancelled", "a push has brought a cancelled order back to life")


def _cancel_while_packing(trial: Trial) -> None:
    trial.needs(Capability.CANCEL)
    order = trial.pushed(1)
    trial.worker.start_packing(order.order_ref)
    answer = trial.adapter.cancel(order.order_ref, WHY)
    expect(answer in ("cancelled", "too_late", "pending"), f"a cancellation while it is packed was answered {answer}")
    status = _status(trial, order)
    expect(
        (answer == "cancelled") == (status == "cancelled"),
        f"the cancellation was answered {answer}, find says {status!r}",
    )
    if answer == "too_late":
        trial.worker.ship(order.order_ref, carrier=CARRIER, tracking_number=tracking_number())
        (event,) = trial.events(order, expected=1)
        expect(event.kind == "shipped", f"too late to cancel, and what left is reported as {event.kind!r}")


def _cancel_too_late(trial: Trial) -> None:
    trial.needs(Capability.CANCEL)
    order = _shipped(trial)
    answer = trial.adapter.cancel(order.order_ref, WHY)
    expect(answer == "too_late", f"the cancellation of an order that has left was answered {answer}")
    expect(_status(trial, order) == "shipped", f"after it find says {_status(trial, order)!r} of what has left")


def _cancel_the_rest(trial: Trial) -> None:
    trial.needs(Capability.CANCEL)
    order = trial.pushed(1, 1)
    sku = str(order.lines[0].sku)
    trial.worker.ship(order.order_ref, {sku: 1}, carrier=CARRIER, tracking_number=tracking_number())
    answer = trial.adapter.cancel(order.order_ref, WHY)
    expect(answer in ("partial", "too_late"), f"cancelled after a part has left, and answered {answer}")
    if answer == "partial":
        first, rest = trial.events(order, expected=2)
        expect(first.kind == "shipped", f"what left before the cancellation is reported as {first.kind!r}")
        expect(rest.kind in ("cancelled", "short"), f"what will not come any more is reported as {rest.kind!r}")


def _unknown(call: Callable[[Trial, str], object], *needed: Capability) -> Callable[[Trial], None]:
    def check(trial: Trial) -> None:
        for capability in needed:
            trial.needs(capability)
        answer = call(trial, trial.order(1).order_ref)
        expect(answer == "not_found", f"of an order that nobody pushed it was answered {answer}")

    return check


def _shipped(trial: Trial) -> FulfillmentOrder:
    order = trial.pushed(1)
    trial.worker.ship(order.order_ref, carrier=CARRIER, tracking_number=tracking_number())
    return order


PROMISES = (
    Promise("hold.and_release", "An order is held until it is released, and then ships; asking twice is asking once.",
            "contract, hold and release", _hold_and_release),
    Promise("hold.too_late", "The hold of what has left is `too_late`.", "contract, hold: 409", _hold_too_late),
    Promise("hold.unknown_order", "The hold of an order that is not there is `not_found`.", "contract: 404",
            _unknown(lambda trial, ref: trial.adapter.hold(ref, WHY), Capability.HOLD)),
    Promise("release.unknown_order", "So is its release.", "contract: 404",
            _unknown(lambda trial, ref: trial.adapter.release(ref, WHY), Capability.HOLD)),
    Promise("cancel.before_packing", "What nobody packs is `cancelled`, asked once or twice, and `find` says so.",
            "contract, cancel", _cancel),
    Promise("cancel.is_final", "A push does not bring a cancelled order back; it is answered `cancelled`.",
            "contract, PUT: 409 order_cancelled", _cancelled_stays),
    Promise("cancel.while_packing", "A cancellation that comes while it is packed is answered by what becomes of "
            "it.", "issue 12; peers §3.3: Monta answers error 18 then", _cancel_while_packing),
    Promise("cancel.too_late", "What has left is `too_late`, and stays shipped.",
            "contract, cancel: 409; peers §3.2: Tryton accepts a cancellation of what is done", _cancel_too_late),
    Promise("cancel.the_rest", "Where a part has left, the rest is cancelled and told of (`partial`), or `too_late`.",
            "contract, cancel: partial", _cancel_the_rest),
    Promise("cancel.unknown_order", "The cancellation of an order that is not there is `not_found`.", "contract: 404",
            _unknown(lambda trial, ref: trial.adapter.cancel(ref, WHY), Capability.CANCEL)),
)  # fmt: skip
