"""Promises of push and find: what is sent is there once, and whatever is refused is refused for good."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from orders_pipeline.model.personal import PersonalText
from orders_pipeline.wms.conformance.ends import NotPossible, expect
from orders_pipeline.wms.conformance.promise import Promise
from orders_pipeline.wms.conformance.trial import Trial, buyers_words, changed
from orders_pipeline.wms.port import WarehouseUnavailable

# Quotes, markup, a path, a right-to-left override, a letter beyond Unicode's first plane.
HOSTILE = "O'Neil \"; drop table orders; -- <script>alert(1)</script> ../../etc %s {0} \u202eevil \U0001d4bb é 中文"
LONGEST_AMAZON_TITLE = 500


def _is_there_once(trial: Trial) -> None:
    order = trial.pushed(2, 1)
    trial.expect_once(order)
    found = trial.adapter.find(order.order_ref)
    expect(found is not None, "find does not know an order that was accepted")


def _twice(trial: Trial) -> None:
    order = trial.pushed(2)
    again = trial.adapter.push(order)
    expect(again.answer == "duplicate", f"the second push of the same order was answered {again.answer}")
    trial.expect_once(order)


def _after_restart(trial: Trial) -> None:
    order = trial.pushed(1)
    again = trial.open().push(order)
    expect(again.answer == "duplicate", f"pushed again by another process, it was answered {again.answer}")
    trial.expect_once(order)


def _at_once(trial: Trial) -> None:
    order = trial.order(1)
    adapters = [trial.adapter, trial.open()]
    with ThreadPoolExecutor(len(adapters) * 2) as pool:
        jobs = [pool.submit(trial.unknown_or, lambda one=one: one.push(order)) for one in adapters * 2]
        answers = [job.result() for job in jobs]
    wrong = sorted({answer.answer for answer in answers if answer is not None and not answer.is_there})
    expect(not wrong, f"one of four pushes of the same order at once was answered {', '.join(wrong)}")
    trial.adapter.push(order)
    trial.expect_once(order)


def _other_content(trial: Trial) -> None:
    order = trial.pushed(1)
    other = replace(order, lines=tuple(replace(line, quantity=2) for line in order.lines))
    answer = trial.adapter.push(other)
    expect(answer.answer == "conflict", f"other content under the same reference was answered {answer.answer}")
    moved = trial.adapter.push(changed(order, address_line1="9 Otherwhere Road"))
    expect(moved.answer == "conflict", f"another address under the same reference was answered {moved.answer}")
    trial.expect_once(order)


def _lost_answer(trial: Trial) -> None:
    # What was learned before (a session, a unit's id) is not asked for again, and does not count.
    trial.pushed(2, 1)
    with trial.front.counting() as calls:
        trial.pushed(2, 1)
    if not calls[0]:
        raise NotPossible("the adapter does not speak HTTP to WMS_BASE_URL")
    for number in range(1, calls[0] + 1):
        _lose(trial, number, f"the answer to call {number} of {calls[0]} was lost")


def _lose(trial: Trial, number: int, what: str) -> None:
    order = trial.order(2, 1)
    with trial.front.striking("lost", at=number, then="unsent"):
        answer = trial.unknown_or(lambda: trial.adapter.push(order))
    expect(answer is None or answer.is_there, f"{what}, and the push was answered {answer and answer.answer}")
    if answer is not None or trial.adapter.find(order.order_ref) is not None:
        # The pipeline takes it for accepted, and sends nothing more.
        trial.expect_once(order)
    again = trial.adapter.push(order)
    expect(again.is_there, f"{what}: pushed again, it was answered {again.answer} ({again.code})")
    trial.expect_once(order)


def _unsent(trial: Trial) -> None:
    order = trial.order(1)
    with trial.front.striking("unsent", then="unsent"):
        trial.raises(WarehouseUnavailable, lambda: trial.adapter.push(order), "a push that could not be sent")
    expect(trial.adapter.find(order.order_ref) is None, "find knows an order that never arrived")
    expect(trial.adapter.push(order).answer == "accepted", "an order that never arrived was not accepted afterwards")


def _unknown_sku(trial: Trial) -> None:
    order = trial.order(1)
    unknown = trial.worker.unknown_sku()
    order = replace(order, lines=tuple(replace(line, sku=unknown) for line in order.lines))
    answer = trial.adapter.push(order)
    expect(answer.answer == "refused" and answer.code, f"an unknown SKU: answered {answer.answer}, code {answer.code}")
    expect(trial.adapter.find(order.order_ref) is None, "find knows an order that was refused")
    right = trial.order(1, order_ref=order.order_ref)
    expect(trial.adapter.push(right).is_there, "once its SKU was corrected, the same order was still not taken")
    trial.expect_once(right)


def _refused_address(trial: Trial) -> None:
    order = replace(trial.order(1), ship_to=trial.worker.refused_address())
    answer = trial.adapter.push(order)
    expect(answer.answer == "refused", f"an address that the warehouse refuses: answered {answer.answer}")
    expect(answer.code, "a refusal without a code: nobody can tell what to correct")
    expect(trial.adapter.push(trial.order(1)).is_there, "after one refused address a plain order was not taken")


def _refusal_names_nobody(trial: Trial) -> None:
    address = trial.worker.refused_address()
    order = replace(trial.order(1), ship_to=address)
    code = trial.adapter.push(order).code or ""
    words = [text for text in address.plain().values() if text and len(text) > 3]
    expect(not [word for word in words if word in code], "the code of a refusal repeats the buyer's address")


def _hostile_text(trial: Trial) -> None:
    order = trial.order(1)
    line = replace(order.lines[0], title=HOSTILE.ljust(LONGEST_AMAZON_TITLE, "x"), gift_message=PersonalText(HOSTILE))
    order = replace(changed(order, name=HOSTILE, address_line2=HOSTILE[:60]), lines=(line,))
    answer = trial.adapter.push(order)
    expect(answer.answer in ("accepted", "refused"), f"an order with hostile text was answered {answer.answer}")
    if answer.is_there:
        trial.expect_once(order)
        again = trial.adapter.push(order)
        expect(again.answer == "duplicate", f"pushed again, the order with hostile text was answered {again.answer}")
    trial.expect_once(trial.pushed(1))


def _unknown_order(trial: Trial) -> None:
    expect(trial.adapter.find(trial.order(1).order_ref) is None, "find knows an order that nobody pushed")


def _names_nobody(trial: Trial) -> None:
    order = trial.order(1)
    with trial.front.striking("unsent", then="unsent"):
        error = trial.raises(WarehouseUnavailable, lambda: trial.adapter.push(order), "a push that could not be sent")
    told = f"{error!r} {error} {error.code} {error.__cause__!r}"
    expect(not [word for word in buyers_words(order) if word in told], "the error of a push names the buyer")


PROMISES = (
    Promise("push.is_there_once", "What was accepted is at the warehouse once, with the pieces that were sent.",
            "contract, PUT: 201", _is_there_once),
    Promise("push.twice_is_a_duplicate", "The same push again is answered `duplicate`, and makes no second order.",
            "contract, PUT: 200; peers §3.3: ShipBob answers 422, Tryton makes a second shipment", _twice),
    Promise("push.again_by_another_process", "So it is after a restart of ours: nothing depends on memory.",
            "design, promise 2", _after_restart),
    Promise("push.at_once_makes_one", "Two processes that push the same order at once make one order.",
            "peers §3.2: references are not unique in Tryton", _at_once),
    Promise("push.other_content_conflicts", "Other content under the same reference is `conflict`; the first stays.",
            "contract, PUT: 409 order_conflict", _other_content),
    Promise("push.lost_answer", "Where an answer is lost the outcome is unknown, what `find` then finds is whole, and "
            "the repeated push makes no second order.", "design, promise 2: after a time-out find first", _lost_answer),
    Promise("push.unsent", "What never arrived ends as unknown, is not found, and is accepted afterwards.",
            "design, promise 2", _unsent),
    Promise("push.unknown_sku", "A SKU that the warehouse does not know is `refused` with a code, leaves nothing, and "
            "can be corrected.", "contract, PUT: 422 unknown_sku", _unknown_sku),
    Promise("push.refused_address", "An address that it refuses is `refused` with a code; other orders go on.",
            "contract, PUT: 422 invalid_address", _refused_address),
    Promise("push.refusal_names_nobody", "The code of a refusal repeats nothing of the address.",
            "design, promise 6", _refusal_names_nobody),
    Promise("push.hostile_text", "Text of any language, length and intent is taken or refused, and does no harm.",
            "contract: free text", _hostile_text),
    Promise("push.errors_name_nobody", "The error of a push repeats nothing of the buyer.", "design, promise 6",
            _names_nobody),
    Promise("find.unknown_is_none", "An order that nobody pushed is None.", "contract, GET: 404", _unknown_order),
)  # fmt: skip
