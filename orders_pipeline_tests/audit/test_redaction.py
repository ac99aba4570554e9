"""The last net: a secret that reached a log call does not reach the log."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import dagster as dg
import pytest

from orders_pipeline.audit import redaction
from orders_pipeline.audit.redaction import MASK, install, redact, register_secret


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What a handler of the logger `canary` wrote."""
    monkeypatch.setattr(redaction, "_registered", set())
    monkeypatch.setattr(redaction, "_registered_pattern", None)
    stream = io.StringIO()
    logger, handler = logging.getLogger("canary"), logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    factory = logging.getLogRecordFactory()
    install()
    yield stream
    logging.setLogRecordFactory(factory)
    logger.removeHandler(handler)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("token Atza|IwEBIA-x_y.z/w+v= then", f"token {MASK} then"),
        ("Atzr|IwEBIA and Atc|MQEBIA and Atz.sprdt|IQEBLj", f"{MASK} and {MASK} and {MASK}"),
        ("Authorization: Bearer s3cr3t-t0ken.x", f"Authorization: Bearer {MASK}"),
        ('{"Authorization": "bearer abc/def+ghi="}', f'{{"Authorization": "bearer {MASK}"}}'),
        ("mail q7x9+tag@marketplace.amazon.co.uk, please", f"mail {MASK}, please"),
        ("amzn1.oa2-cs.v1.0a1b2c3d", MASK),
        # order ids, request ids and URLs stay readable: a log that says nothing helps nobody
        ("order 902-3159896-1390916 of A3TH9S8BH6GOGM at https://host/v1/orders", None),
    ],
)
def test_what_looks_like_a_secret_is_masked_and_the_rest_is_not(text: str, masked: str | None) -> None:
    assert redact(text) == (text if masked is None else masked)


def test_message_arguments_exception_and_stack_are_all_masked(written: io.StringIO) -> None:
    register_secret("7 Nightingale Row")
    log = logging.getLogger("canary")
    log.info("plain Atza|in-message")
    log.info("args %s and %r", "Atza|in-args", {"deep": "jane@example.com"})
    log.info("split %s|%s", "Atza", "joined-by-formatting")
    try:
        _fail()
    except ValueError:
        log.exception("failed", stack_info=True)
    log.info("does not fit %s", "Atza|one", "Atza|two")
    output = written.getvalue()
    for secret in ("in-message", "in-args", "example.com", "joined", "in-cause", "Nightingale", "Atza"):
        assert secret not in output
    assert "ValueError: ship to" in output
    assert "Stack (most recent call last)" in output
    assert output.count("INFO") == 4


def _fail() -> None:
    raise ValueError("ship to 7 Nightingale Row") from KeyError("Atza|in-cause")


def test_a_childs_log_is_masked_by_the_handler_of_its_parent(written: io.StringIO) -> None:
    logging.getLogger("canary.child").warning("Atza|from-a-child")
    assert written.getvalue() == f"WARNING {MASK}\n"


def test_a_registered_value_within_another_leaves_no_rest(written: io.StringIO) -> None:
    register_secret("secret-value")
    register_secret("secret-value-with-more")
    register_secret("abc")  # too short: would mask ordinary words
    logging.getLogger("canary").info("it is secret-value-with-more, abc")
    assert written.getvalue() == f"INFO it is {MASK}, abc\n"


def test_installing_twice_masks_once(written: io.StringIO) -> None:
    before = logging.getLogRecordFactory()
    install()
    assert logging.getLogRecordFactory() is before


def test_a_handler_that_was_added_later_gets_masked_records_too(written: io.StringIO) -> None:
    later = io.StringIO()
    handler = logging.StreamHandler(later)
    logging.getLogger("another").addHandler(handler)
    logging.getLogger("another.child").warning("Atza|from-a-child")
    logging.getLogger("another").removeHandler(handler)
    assert later.getvalue() == f"{MASK}\n"


class _Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("Atza|in-the-error")


@pytest.mark.parametrize(("message", "argument"), [("%(a)s", {"b": 1}), ("it is %s", _Unprintable()), ("%d", "x")])
def test_a_log_call_never_ends_the_work(written: io.StringIO, message: str, argument: object) -> None:
    logging.getLogger("canary").error(message, argument)
    assert "do not fit" in written.getvalue()
    assert "Atza" not in written.getvalue()


def test_what_holds_no_secret_keeps_its_arguments_for_who_formats_them_otherwise(written: io.StringIO) -> None:
    seen: list[object] = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.args)  # type: ignore[method-assign]
    logging.getLogger("canary").addHandler(handler)
    logging.getLogger("canary").info("%s and %d", "one", 2)
    logging.getLogger("canary").removeHandler(handler)
    assert seen == [("one", 2)]


def test_what_a_run_writes_to_its_log_is_masked_in_dagsters_events(written: io.StringIO) -> None:
    @dg.op
    def leaky(context) -> None:  # pyright: ignore[reportMissingParameterType]
        context.log.error("refused: Atza|into-the-event-log")

    @dg.job
    def leaking() -> None:
        leaky()

    with dg.DagsterInstance.ephemeral() as instance:
        result = leaking.execute_in_process(instance=instance)
        events = " ".join(entry.user_message + str(entry) for entry in instance.all_logs(result.run_id))
    assert "refused" in events
    assert "into-the-event-log" not in events


def test_a_megabyte_without_an_address_does_not_hold_up_the_work():
    # With a pattern that tries every length from every place this would take an hour.
    assert redact("a" * 1_000_000) == "a" * 1_000_000
