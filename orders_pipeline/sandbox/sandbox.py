"""The whole sandbox as one object: start it, point a client at `environment()`, look at what happened."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

from orders_pipeline.sandbox.amazon.app import amazon_application
from orders_pipeline.sandbox.amazon.fba_shipment import BRAZIL, FBA_SHIPMENT_STATUS
from orders_pipeline.sandbox.amazon.marketplaces import MARKETPLACES
from orders_pipeline.sandbox.amazon.order import Order
from orders_pipeline.sandbox.amazon.state import AmazonOptions, AmazonState
from orders_pipeline.sandbox.amazon.subscriptions import ORDER_CHANGE, Subscriptions
from orders_pipeline.sandbox.clock import Clock
from orders_pipeline.sandbox.control import Control
from orders_pipeline.sandbox.day.days import Days
from orders_pipeline.sandbox.day.people import People
from orders_pipeline.sandbox.day.player import Day, DayOptions
from orders_pipeline.sandbox.day.verdicts import Judge
from orders_pipeline.sandbox.order_factory import OrderFactory
from orders_pipeline.sandbox.queue import ACCESS_KEY, REGION, SECRET_KEY, Queue, QueueOptions
from orders_pipeline.sandbox.serving import ThreadedServer
from orders_pipeline.sandbox.warehouse.app import WarehouseApi
from orders_pipeline.sandbox.warehouse.floor import Floor, FloorOptions
from orders_pipeline.sandbox.warehouse.state import WarehouseState
from orders_pipeline.sandbox.warehouse.webhooks import WebhookSender

SELLER_ID = "A3TH9S8BH6GOGM"
MARKETPLACE_ID = "ATVPDKIKX0DER"
WAREHOUSE_TOKEN = "sandbox-warehouse-token"  # noqa: S105 - opens nothing but this sandbox
WEBHOOK_SECRET = "sandbox-webhook-secret"  # noqa: S105 - as above


@dataclass(frozen=True)
class OtherSeller:
    """A seller beside the first, with a queue of its own."""

    seller_id: str
    marketplace_ids: tuple[str, ...]


# One of each region in turn, begun with another than the first seller's.
_MARKETPLACES_IN_TURN = ("A1PA6795UKMFR9", "A1VC38T7YXB528", MARKETPLACE_ID)


def other_sellers(count: int) -> tuple[OtherSeller, ...]:
    return tuple(
        OtherSeller(f"A2OTHERSELLER{number:02d}", (_MARKETPLACES_IN_TURN[(number - 1) % len(_MARKETPLACES_IN_TURN)],))
        for number in range(1, count + 1)
    )


class Sandbox:
    """A local Amazon, its queue and a warehouse on loopback ports, in threads of this process.

    `time_scale` multiplies Amazon's refill rates only. The day does not start by itself: `day.start()`. The warehouse
    sends webhooks to `webhook_url`, and none without one.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        time_scale: float = 1.0,
        token_seconds: int = 3600,
        canary: bool = False,
        subscribed: bool = True,
        amazon: AmazonOptions | None = None,
        queue: QueueOptions | None = None,
        floor: FloorOptions | None = None,
        day: DayOptions | None = None,
        amazon_port: int = 0,
        queue_port: int = 0,
        warehouse_port: int = 0,
        webhook_url: str | None = None,
        seller_id: str = SELLER_ID,
        marketplace_ids: tuple[str, ...] = (MARKETPLACE_ID,),
        others: Sequence[OtherSeller] = (),
    ) -> None:
        self.seller_id = seller_id
        self.marketplace_ids = marketplace_ids
        self.clock = Clock()
        self.people = People(canary=canary)
        self.queue = Queue(clock=self.clock, options=queue or QueueOptions(), port=queue_port, seed=seed)
        self.amazon = AmazonState(
            clock=self.clock,
            publish=self.queue.publish,
            subscriptions=Subscriptions(),
            time_scale=time_scale,
            token_seconds=token_seconds,
            options=amazon or AmazonOptions(),
            seed=seed,
        )
        self.warehouse = WarehouseState(clock=self.clock, token=WAREHOUSE_TOKEN, seed=seed)
        self.webhooks = WebhookSender(self.warehouse, clock=self.clock, secret=WEBHOOK_SECRET, url=webhook_url)
        self.floor = self.make_floor(floor or FloorOptions(), seed)
        sellers = [OtherSeller(seller_id, marketplace_ids), *others]
        orders = (day or DayOptions()).orders
        shares = [orders // len(sellers) + (number < orders % len(sellers)) for number in range(len(sellers))]
        played = [
            Day(
                amazon=self.amazon,
                warehouse=self.warehouse,
                floor=self.floor,
                clock=self.clock,
                people=self.people,
                options=replace(day or DayOptions(), orders=share),
                seller_id=seller.seller_id,
                marketplace_id=seller.marketplace_ids[0],
                # Another day each, and other ids of orders.
                seed=seed + 1000 * number,
            )
            for number, (seller, share) in enumerate(zip(sellers, shares, strict=True))
        ]
        self.day, self.days = played[0], Days(played)
        self.others = tuple(others)
        self._queues: dict[str, tuple[str, str]] = {}
        self.judge = self.make_judge()
        self._factory = OrderFactory(
            clock=self.clock,
            people=self.people,
            seller_id=seller_id,
            marketplace_id=marketplace_ids[0],
            seed=seed,
        )
        self._subscribed = subscribed
        for seller in sellers:
            self.amazon.accounts.add_seller(seller.seller_id, list(seller.marketplace_ids))
        application = amazon_application(self.amazon, self.queue, Control(self).routes())
        self._amazon_server = ThreadedServer(application, port=amazon_port, name="amazon")
        self._warehouse_server = self._serve_warehouse(warehouse_port)

    def make_floor(self, options: FloorOptions, seed: int) -> Floor:
        """Who packs and ships. A sandbox with another warehouse has another floor."""
        return Floor(self.warehouse, clock=self.clock, options=options, seed=seed)

    def make_judge(self) -> Judge:
        """Who says whether each order ended where it should."""
        return Judge(self.amazon, self.warehouse)

    def start(self) -> Sandbox:
        self.queue.start()
        for number, other in enumerate(self.others, start=2):
            self._queues[other.seller_id] = self.queue.add(str(number))
        if self._subscribed:
            for seller_id in self.amazon.accounts.sellers:
                self.subscribe(seller_id)
        self._amazon_server.start()
        self._warehouse_server.start()
        self.webhooks.start()
        self.floor.start()
        return self

    def stop(self) -> None:
        self.days.stop()
        self.floor.stop()
        self.webhooks.stop()
        self._warehouse_server.stop()
        self._amazon_server.stop()
        self.queue.stop()

    def restart_warehouse(self) -> None:
        """Its server stops and starts at the same port; what it had it still has."""
        port = self._warehouse_server.port
        self._warehouse_server.stop()
        self._warehouse_server = self._serve_warehouse(port)
        self._warehouse_server.start()

    def _serve_warehouse(self, port: int) -> ThreadedServer:
        return ThreadedServer(WarehouseApi(self.warehouse).application(), port=port, name="warehouse")

    def __enter__(self) -> Sandbox:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return self._amazon_server.url

    @property
    def warehouse_url(self) -> str:
        return self._warehouse_server.url

    def environment(self, seller_id: str | None = None) -> dict[str, str]:
        """The settings of a client of this sandbox, by their names in the environment."""
        seller = self.amazon.accounts.sellers[seller_id or self.seller_id]
        application = self.amazon.accounts.application
        return {
            "AMAZON_LWA_CLIENT_ID": application.client_id,
            "AMAZON_LWA_CLIENT_SECRET": application.client_secrets[0],
            "AMAZON_LWA_REFRESH_TOKEN": seller.refresh_token,
            "AMAZON_SELLER_ID": seller.seller_id,
            "AMAZON_MARKETPLACE_ID": ",".join(seller.marketplace_ids),
            "AMAZON_REGION": MARKETPLACES[seller.marketplace_ids[0]].region,
            "AMAZON_SQS_QUEUE_URL": self._queue_of(seller.seller_id)[1],
            "AMAZON_SPAPI_ENDPOINT": self.url,
            "AMAZON_LWA_ENDPOINT": self.url,
            "AMAZON_APPLICATION_ID": application.application_id,
            "AMAZON_SELLER_CENTRAL_ENDPOINT": self.url,
            "AWS_ENDPOINT_URL_SQS": self.queue.endpoint,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "WMS_ADAPTER": "rest",
            "WMS_BASE_URL": self.warehouse_url,
            "WMS_TOKEN": WAREHOUSE_TOKEN,
            **({"WMS_WEBHOOK_SECRET": self.webhooks.secret} if self.webhooks.url is not None else {}),
            "SANDBOX_URL": self.url,
            **(self._several() if self.others and seller_id is None else {}),
        }

    def _several(self) -> dict[str, str]:
        """For who serves every seller: its AMAZON_ACCOUNTS_FILE (JSON is YAML), and the tokens that it names."""
        sellers = self.amazon.accounts.sellers.values()
        tokens = {f"SANDBOX_REFRESH_TOKEN_{number}": one.refresh_token for number, one in enumerate(sellers, start=1)}
        accounts = [
            {
                "account": f"{MARKETPLACES[one.marketplace_ids[0]].region}-{number}",
                "seller": one.seller_id,
                "marketplaces": one.marketplace_ids,
                "queue": self._queue_of(one.seller_id)[1],
                "secrets": {"refresh_token": f"SANDBOX_REFRESH_TOKEN_{number}"},
            }
            for number, one in enumerate(sellers, start=1)
        ]
        return {**tokens, "SANDBOX_ACCOUNTS": json.dumps({"accounts": accounts}, indent=1)}

    def _queue_of(self, seller_id: str) -> tuple[str, str]:
        """(ARN, URL)."""
        return self._queues.get(seller_id, (self.queue.arn, self.queue.url))

    def enroll_rotation(self) -> str:
        """As in the developer console: new client secrets go to a queue of their own; its URL. The sandbox runs."""
        arn, url = self.queue.add("client-secrets")
        self.amazon.accounts.application.rotation_queue_arn = arn
        return url

    def add_order(self, *, notify: bool = True, **specification: Any) -> Order:
        """An order at Amazon, with defaults for what is not said, and its message on the queue."""
        return self.amazon.add_order(self._factory.make(**specification), notify=notify)

    def subscribe(self, seller_id: str) -> None:
        """What `createDestination` and `createSubscription` would have done."""
        arn, known = self._queue_of(seller_id)[0], self.amazon.subscriptions.destinations.values()
        destination = next((one for one in known if one.arn == arn), None)
        name = "-".join(("orders-pipeline", *([seller_id] if seller_id in self._queues else [])))
        destination = destination or self.amazon.subscriptions.add_destination(name, arn)
        if destination is not None:
            directive = {
                "eventFilter": {
                    "eventFilterType": ORDER_CHANGE,
                    "orderChangeTypes": ["OrderStatusChange", "BuyerRequestedChange"],
                }
            }
            self.amazon.subscriptions.subscribe(seller_id, ORDER_CHANGE, "1.0", destination, directive)
            if BRAZIL in self.amazon.accounts.sellers[seller_id].marketplace_ids:
                self.amazon.subscriptions.subscribe(seller_id, FBA_SHIPMENT_STATUS, "1.0", destination, {})

    @property
    def canaries(self) -> list[str]:
        """Every canary given out so far: none of them may turn up where PII must not be."""
        return list(self.people.canaries)

    def verdicts(self) -> dict[str, Any]:
        return self.judge.report(self.days.planned)

    def ledger(self) -> dict[str, Any]:
        return {
            "amazon": self.amazon.ledger.as_json(),
            "warehouse": self.warehouse.as_json(),
            "queue": {"sent": self.queue.sent, "junk_sent": self.queue.junk_sent, "depth": self.queue.depth()},
        }
