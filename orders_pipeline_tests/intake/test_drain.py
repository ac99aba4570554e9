"""Nothing lost, nothing doubled: record, commit, and only then delete."""

from __future__ import annotations

import copy
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from orders_pipeline.database.engine import Database
from orders_pipeline.intake.drain import PARKED_MESSAGE, drain_notifications
from orders_pipeline.intake.queue import QueueUnavailable
from orders_pipeline.sandbox.queue import eventbridge_envelope
from orders_pipeline.vault.errors import KeyProviderUnavailable
from orders_pipeline.vault.providers.keyring import LocalKeyring
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.intake.test_notification import MESSAGE, POSTAL_CODE
from orders_pipeline_tests.ports import MemoryQueue
from orders_pipeline_tests.world import World


def _message(number: int, **changes: Any) -> str:
    message = copy.deepcopy(MESSAGE)
    message["NotificationMetadata"]["NotificationId"] = f"n-{number}"
    message["Payload"]["OrderChangeNotification"] |= {"AmazonOrderId": f"903-0000000-{number:07d}", **changes}
    return json.dumps(message)


def test_a_message_is_deleted_only_after_its_event_is_committed(world: World, database: Database):
    seen: list[int] = []

    class Watching(MemoryQueue):
        def delete(self, messages: Any) -> int:
            with Database(database.engine.url.render_as_string(hide_password=False)).begin() as other:
                seen.append(other.exec_driver_sql("select count(*) from pipeline.order_events").scalar_one())
            return super().delete(messages)

    world.queue = Watching()
    world.queue.send(*(_message(number) for number in range(15)))
    totals = world.drain()
    assert seen == [10, 15], "another connection sees what is about to be deleted"
    assert (totals.received, totals.new_events) == (15, 15)
    assert world.queue.in_flight == []


def test_a_queue_that_sellers_share_gives_each_message_to_its_sellers_account(world: World):
    world.queue.send(_message(1), _message(2, SellerId="A2BIRCH"), _message(3, SellerId="A3NOBODY"), "not json")
    sellers = {SELLER: "acme", "A2BIRCH": "birch"}
    totals = drain_notifications(
        world.queue, world.database, world.vault, account_id="acme", sellers=sellers, wait_seconds=0
    )
    assert (totals.new_events, totals.parked) == (2, 2)
    events = world.rows("pipeline.order_events", "account_id, order_id")
    assert {(row.account_id, row.order_id[-1]) for row in events} == {("acme", "1"), ("birch", "2")}
    parked = world.rows("pipeline.parked_messages", "account_id, reason, parked_id")
    assert {(row.account_id, row.reason) for row in parked} == {("acme", "another seller's"), ("acme", "not JSON")}


def test_while_the_database_is_down_no_message_is_deleted(world: World):
    world.queue.send(_message(1), "not json")
    down = Database("postgresql+psycopg2://nobody@127.0.0.1:1/nowhere")
    with pytest.raises(OperationalError):
        drain_notifications(world.queue, down, world.vault, account_id=SELLER, wait_seconds=0)
    assert len(world.queue.in_flight) == 2
    world.queue.reappear()
    totals = world.drain()
    assert (totals.new_events, totals.parked) == (1, 1)
    assert world.queue.in_flight == world.queue.waiting == []


def test_a_commit_that_fails_deletes_nothing(world: World):
    world.sql(
        "create function refuse() returns trigger as $$ begin raise exception 'disk full'; end $$ language plpgsql"
    )
    world.sql(
        "create constraint trigger refuse after insert on pipeline.order_events deferrable initially deferred "
        "for each row execute function refuse()"
    )
    world.queue.send(_message(1))
    with pytest.raises(Exception, match="disk full"):
        world.drain()
    assert len(world.queue.in_flight) == 1


def test_what_sqs_delivers_again_is_recognised(world: World):
    world.queue.send(_message(1), _message(1), _message(2))
    first = world.drain()
    world.queue.send(_message(1), _message(2))
    second = world.drain()
    assert (first.new_events, first.duplicates) == (2, 1)
    assert (second.new_events, second.duplicates) == (0, 2)
    assert len(world.rows("pipeline.order_events")) == 2


def test_what_comes_by_eventbridge_too_is_one_event(world: World):
    world.queue.send(_message(1), eventbridge_envelope(_message(2)))
    world.drain()
    world.queue.send(eventbridge_envelope(_message(1)), _message(2), eventbridge_envelope(_message(2)))
    assert (world.drain().duplicates, len(world.rows("pipeline.order_events"))) == (3, 2)


def test_an_event_of_another_source_is_parked_as_what_it_is(world: World):
    listing = {"NotificationType": "LISTINGS_ITEM_ISSUES_CHANGE", "Payload": {"Sku": "SKU"}}
    of_s3 = {
        "version": "0",
        "id": "1",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "detail": {"reason": "Put"},
    }
    world.queue.send(
        eventbridge_envelope(json.dumps(listing)), json.dumps(of_s3), json.dumps(of_s3 | {"detail": "Put"})
    )
    world.drain()
    parked = world.rows("pipeline.parked_messages", "reason, parked_id")
    assert sorted(row.reason for row in parked) == [
        "no NotificationType",
        "no NotificationType",
        "not an order change: LISTINGS_ITEM_ISSUES_CHANGE",
    ]


def test_what_sqs_could_not_delete_comes_again_as_a_duplicate(world: World):
    world.queue.send(_message(1), "not json", _message(2))
    world.queue.undeletable = 2
    assert world.drain().undeleted == 2
    world.queue.reappear()
    totals = world.drain()
    assert (totals.new_events, totals.parked, totals.duplicates) == (0, 0, 1)
    assert world.queue.in_flight == []
    assert len(world.rows("pipeline.parked_messages")) == 1


def test_a_message_without_an_id_is_recognised_by_that_of_the_queue(world: World):
    message = json.loads(_message(1))
    del message["NotificationMetadata"]
    world.queue.send(json.dumps(message))
    world.queue.undeletable = 1
    world.drain()
    world.queue.reappear()
    assert world.drain().duplicates == 1


def test_types_that_nobody_heard_of_open_one_alert_and_a_name_is_no_type(world: World):
    types = [f"NEVER_HEARD_OF_{number}" for number in range(8)]
    hostile = ["Canary Quillfeather", "X" * 9_000, "<!channel>", "A\u202eB", "\ud800", ["A"], {"A": 1}]
    world.queue.send(*(json.dumps({"NotificationType": one}) for one in (*types, *hostile)))
    world.drain()
    assert world.drain().received == 0
    parked = world.rows("pipeline.parked_messages", "notification_type, reason")
    assert len(parked) == len(types) + len(hostile)
    assert {row.notification_type for row in parked} == {*types, "unreadable type", None}
    world.alerts()
    alerts = world.rows("pipeline.alerts", "key, message")
    assert [row.key for row in alerts] == ["message.parked:no NotificationType", "message.parked:not an order change"]
    assert "Quillfeather" not in world.everything_stored()


def test_what_cannot_be_read_is_parked_encrypted_alerted_and_taken_off_the_queue(world: World):
    broken = _message(1)[:-2]
    other = json.dumps({"NotificationType": "NEVER_HEARD_OF", "Payload": {"postal": POSTAL_CODE}})
    world.queue.send(broken, _message(2), other, _message(3, SellerId="AOTHER"))
    totals = world.drain()
    assert (totals.new_events, totals.parked) == (1, 3)
    assert world.queue.in_flight == world.queue.waiting == []
    parked = world.rows("pipeline.parked_messages", "reason, notification_type, parked_id")
    assert {(row.reason, row.notification_type) for row in parked} == {
        ("not JSON", None),
        ("not an order change: NEVER_HEARD_OF", "NEVER_HEARD_OF"),
        ("another seller's", "ORDER_CHANGE"),
    }
    assert "set aside" in world.alerts()["message.parked"].message
    stored = world.everything_stored()
    assert POSTAL_CODE not in stored
    assert POSTAL_CODE.encode().hex() not in stored
    (row,) = [row for row in parked if row.reason == "not JSON"]
    kept = world.vault.reveal(account_id=SELLER, kind=PARKED_MESSAGE, subject_id=str(row.parked_id), purpose="a test")
    assert kept == broken.encode()


def test_an_extreme_message_does_not_stop_the_others(world: World):
    """Whatever can be read must also be storable: a message that fails in the database would block the queue."""
    summary = copy.deepcopy(MESSAGE["Payload"]["OrderChangeNotification"]["Summary"])
    summary |= {"NumberOfItemsShipped": 10**4000, "OrderItems": [{"OrderItemId": "1", "Quantity": -(10**300)}]}
    extremes = [
        _message(1, Summary=summary),
        _message(2, OrderChangeTrigger={"TimeOfOrderChange": "0001-01-01T00:00:00Z"}),
        _message(3, OrderChangeTrigger={"TimeOfOrderChange": "9999-12-31T23:59:59.999999Z"}),
        _message(4, OrderChangeTrigger={"TimeOfOrderChange": None, "ChangeReason": "a\u0000b\ud800"}),
        _message(5, AmazonOrderId="a\u0000b"),
    ]
    world.queue.send(*extremes, _message(6))
    totals = world.drain()
    assert (totals.new_events, totals.parked) == (5, 1)
    assert sum(world.absorb().outcomes.values()) == 5


def test_concurrent_drains_of_the_same_messages_do_not_deadlock(world: World):
    events, broken = [_message(number) for number in range(10)], [f"broken {number}" for number in range(5)]
    # Each row takes its time, so that the two surely meet.
    world.sql("create function linger() returns trigger as $$ begin perform pg_sleep(0.02); return new; end $$ "
              "language plpgsql")  # fmt: skip
    for table in ("order_events", "parked_messages"):
        world.sql(f"create trigger linger before insert on pipeline.{table} for each row execute function linger()")
    for _ in range(3):
        queues = [MemoryQueue(), MemoryQueue()]
        queues[0].send(*events, *broken)
        queues[1].send(*events, *broken)
        # SQS gives ten at a time: the same ten to both.
        queues[1].waiting = [*reversed(queues[1].waiting[:10]), *reversed(queues[1].waiting[10:])]
        with ThreadPoolExecutor(2) as pool:
            list(
                pool.map(
                    lambda queue: drain_notifications(
                        queue, world.database, world.vault, account_id=SELLER, wait_seconds=0
                    ),
                    queues,
                )
            )
        assert len(world.rows("pipeline.order_events")) == 10
        assert len(world.rows("pipeline.parked_messages")) == 5
        world.sql("truncate pipeline.order_events, pipeline.parked_messages")


def test_one_call_ends_when_its_time_is_spent(world: World):
    world.queue.send(*(_message(number) for number in range(50)))
    ticks = iter(range(0, 1000, 8))
    totals = drain_notifications(
        world.queue, world.database, world.vault, account_id=SELLER, budget_seconds=20, clock=lambda: next(ticks)
    )
    assert totals.received == 30
    assert len(world.queue.waiting) == 20


class Unavailable(MemoryQueue):
    """A queue that fails the calls that it is told to fail."""

    def __init__(self, *failing: str) -> None:
        super().__init__()
        self.failing = set(failing)

    def receive(self, *, wait_seconds: int) -> Any:
        if "receive" in self.failing:
            raise QueueUnavailable("ExpiredToken", "Renew the AWS credentials.")
        return super().receive(wait_seconds=wait_seconds)

    def delete(self, messages: Any) -> int:
        if "delete" in self.failing:
            raise QueueUnavailable("ExpiredToken", "Renew the AWS credentials.")
        return super().delete(messages)


def test_a_queue_that_is_away_is_one_alert_until_it_is_read_again(world: World):
    queue = world.queue = Unavailable("receive")
    queue.send(_message(1))
    for _ in range(3):
        assert str(world.drain().unavailable).startswith("SQS does not serve the queue (ExpiredToken)")
    assert "Renew the AWS credentials." in world.alerts()["queue.unavailable"].message
    queue.failing.clear()
    totals = world.drain()
    assert (totals.unavailable, totals.new_events) == (None, 1)
    assert world.alerts() == {}


def test_events_recorded_before_the_queue_went_away_count_once(world: World):
    queue = world.queue = Unavailable("delete")
    queue.send(*(_message(number) for number in range(12)))
    totals = world.drain()
    assert (totals.new_events, totals.undeleted, totals.unavailable is None) == (10, 10, False)
    queue.failing.clear()
    queue.reappear()
    totals = world.drain()
    assert (totals.new_events, totals.duplicates) == (2, 10)


def test_without_keys_unreadable_messages_stay_queued_and_block_nothing(world: World, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as away:

        def unavailable(*_: object) -> None:
            raise KeyProviderUnavailable("AWS KMS did not serve the key (EndpointConnectionError).")

        away.setattr(LocalKeyring, "wrap", unavailable)
        world.queue.send(_message(1), "not json", _message(2))
        totals = world.drain()
    assert (totals.new_events, totals.parked, totals.undeleted) == (2, 0, 1)
    assert [message.body for message in world.queue.in_flight] == ["not json"]
    assert "AWS KMS" in world.alerts()["vault.keys_unavailable"].message
    world.queue.reappear()
    assert world.drain().parked == 1
    assert world.alerts().keys() == {"message.parked"}


def test_the_alert_about_parked_messages_ends_when_none_of_its_kind_came_for_days(world: World):
    world.queue.send("not json", json.dumps({"NotificationType": "FIRST"}))
    world.drain()
    world.sql("update pipeline.parked_messages set parked_at = parked_at - interval '71 hours'")
    world.drain()
    assert len(_open_alerts(world)) == 2
    world.sql(
        "update pipeline.parked_messages set parked_at = parked_at - interval '2 hours' where reason = 'not JSON'"
    )
    world.drain()
    assert _open_alerts(world) == {"message.parked:not an order change"}
    world.sql("update pipeline.parked_messages set replayed_at = now()")
    world.drain()
    assert _open_alerts(world) == set()


def test_a_new_parked_type_is_alerted_again_at_most_once_an_hour(world: World):
    def arrive(notification_type: str, told: str) -> bool:
        world.sql(f"update pipeline.alerts set delivered_at = {told}")
        world.sql("update pipeline.parked_messages set parked_at = parked_at - interval '3 hours'")
        world.queue.send(json.dumps({"NotificationType": notification_type}))
        world.drain()
        world.alerts()
        (alert,) = world.rows("pipeline.alerts", "delivered_at, message")
        assert notification_type in alert.message
        return alert.delivered_at is None

    assert arrive("FIRST", "null")
    assert not arrive("FIRST", "now() - interval '2 hours'"), "known"
    assert not arrive("SECOND", "now() - interval '59 minutes'"), "told a moment ago"
    assert arrive("THIRD", "now() - interval '61 minutes'")


def _open_alerts(world: World) -> set[str]:
    world.alerts()
    return {row.key for row in world.rows("pipeline.alerts", "key, message", "closed_at is null")}
