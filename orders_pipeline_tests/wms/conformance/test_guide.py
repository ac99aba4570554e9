"""The example of docs/warehouse-adapters.md keeps every promise of what it declares, on a server of its own kind."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from orders_pipeline.settings import WarehouseSettings
from orders_pipeline.wms.conformance.suite import try_adapter
from orders_pipeline.wms.connect import open_warehouse
from orders_pipeline.wms.port import Capability, NotCapable, WarehouseRefused
from orders_pipeline_tests.read_source import ROOT
from orders_pipeline_tests.wms.conformance.parcelhouse_server import KEY, Parcelhouse

GUIDE = (ROOT / "docs" / "warehouse-adapters.md").read_text("utf-8")
ADAPTER = "my_company.parcelhouse:open_warehouse"
UNDECLARED = {"hold", "release", "webhook", "acknowledge", "stock"}


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The guide's module, importable as it is said there; its text."""
    (source,) = re.findall(r"```python\n# my_company/parcelhouse\.py\n(.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "my_company").mkdir()
    (tmp_path / "my_company" / "parcelhouse.py").write_text(source, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield source
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_company"]:
        del sys.modules[name]


def test_the_guides_example_keeps_every_promise_of_what_it_declares(example: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("orders_pipeline.wms.conformance.trial.EVENT_SECONDS", 2.0)
    with Parcelhouse() as house:
        settings = WarehouseSettings(adapter=ADAPTER, base_url=house.url, token=SecretStr(KEY))
        results = list(try_adapter(open_warehouse, settings, lambda: house))
    assert {one.promise.name: one.reason for one in results if one.verdict == "fails"} == {}
    assert {one.promise.name.partition(".")[0] for one in results if one.verdict == "not tried"} == UNDECLARED


def test_the_guides_example_takes_no_word_that_it_does_not_know_for_a_cancellation(
    example: str, monkeypatch: pytest.MonkeyPatch
):
    with Parcelhouse() as house:
        adapter = open_warehouse(WarehouseSettings(adapter=ADAPTER, base_url=house.url, token=SecretStr(KEY)))
        house.add("111-0000000-0000001")
        monkeypatch.setattr(house, "done", "queued")
        with pytest.raises(WarehouseRefused):
            adapter.cancel("111-0000000-0000001", "cancelled at Amazon")
        for entry in ("an entry", {"items": 5}, {"type": []}):
            house.report_as_it_is(entry)
        page = adapter.poll(None, 100)
        assert page.unreadable >= 3
        with pytest.raises(NotCapable):
            adapter.hold("111-0000000-0000001", "a reason")
        adapter.close()


def test_the_guides_example_is_short(example: str):
    assert len(example.splitlines()) <= 155


def test_the_guide_tells_what_happens_without_each_capability():
    rows = GUIDE.split("## What your warehouse cannot do")[1].split("## An example")[0]
    told = {
        word for cell in re.findall(r"^\| (`[^|]+`) \|", rows, re.MULTILINE) for word in re.findall(r"`(\w+)`", cell)
    }
    assert told == {str(one) for one in Capability}
