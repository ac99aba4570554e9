"""What a message about an alert links to is there on the board: the order's panel, and the orders of several alerts."""

from __future__ import annotations

import re

import pytest
import requests

from orders_pipeline.alerts.kinds import ORDER_LINK
from orders_pipeline.operations.alerts import ALERTS
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.web.board.served import PERSON
from orders_pipeline_tests.web.board.shop import Shop


def _get(url: str, status: int = 200) -> str:
    answer = requests.get(url, headers={PERSON: "victor"}, timeout=30)
    assert answer.status_code == status, answer.text
    return answer.text


def test_an_alert_about_one_order_leads_to_its_card_and_its_panel(board_url: str, shop: Shop):
    order_id = "111-0000003-0000003"
    page = _get(board_url + ORDER_LINK.format(order_id=order_id, account_id=SELLER))
    assert set(re.findall(r'data-order="([^"]+)"', page)) == {f"{SELLER}:{order_id}"}, "no other card"
    assert order_id in page.partition('<aside id="panel"')[2], "its panel is open"


@pytest.mark.parametrize("board_filter", sorted({kind.board_filter for kind in ALERTS if kind.board_filter}))
def test_alerts_about_several_orders_lead_to_a_filter_that_the_board_has(board_url: str, shop: Shop, board_filter: str):
    _get(f"{board_url}/board?{board_filter}")
    _get(f"{board_url}/board?{board_filter}x", status=400)
