"""Carriers: the warehouse's words in, Amazon's exact code out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders_pipeline.channels.amazon.carriers import (
    OTHER,
    CarrierTable,
    CarrierTableError,
    read_override_table,
    read_overrides,
    resolve_carrier,
    shipped_table,
)
from orders_pipeline.sandbox.amazon.carriers import CARRIER_CODES

US, UK, DE, IN, JP, IT = (
    "ATVPDKIKX0DER", "A1F83G8C2ARO7P", "A1PA6795UKMFR9", "A21TJRUUN4KGV", "A1VC38T7YXB528", "APJ6JRA9NG5V4",
)  # fmt: skip


@pytest.mark.parametrize(
    ("carrier", "service", "marketplace", "code", "method"),
    [
        ("ups", "Ground", US, "UPS", "Ground"),
        ("U.P.S.", None, US, "UPS", None),
        ("purolator", None, US, "PUROLATOR", None),
        ("b-post", None, DE, "BPOST", None),
        ("Hermes", None, UK, "Hermes UK", None),
        ("Hermes", None, DE, "Hermes Logistik Gruppe", None),
        ("TNT", None, IT, "TNTIT", None),
        ("TNT", None, DE, "TNT", None),
        ("FedEx Ground", None, US, "FedEx", "FedEx Ground"),
        ("fedex", "2Day", JP, "FEDEX_JP", "2Day"),
        ("Colis Privé", None, DE, "Colis Prive", None),
    ],
)
def test_a_known_carrier_is_sent_under_amazons_exact_code(
    carrier: str, service: str | None, marketplace: str, code: str, method: str | None
) -> None:
    choice = resolve_carrier(carrier, service, marketplace)
    assert (choice.code, choice.shipping_method, choice.known, choice.needs_correction) == (code, method, True, False)
    assert choice.name is None


def test_an_unknown_carrier_goes_out_as_other_with_its_name_and_says_what_to_do() -> None:
    choice = resolve_carrier(" Cycle Couriers ", "Bike", US)
    assert (choice.code, choice.name, choice.shipping_method) == (OTHER, "Cycle Couriers", "Bike")
    assert (choice.known, choice.needs_correction) == (False, False)
    assert "carriers.csv" in choice.reason


def test_where_other_is_refused_an_unknown_carrier_is_held() -> None:
    choice = resolve_carrier("Cycle Couriers", None, IN)
    assert choice.needs_correction
    assert "refuses" in choice.reason
    assert not resolve_carrier("Delhivery", None, IN).needs_correction


@pytest.mark.parametrize("carrier", [None, "", "   "])
def test_a_parcel_without_a_carrier_is_held(carrier: str | None) -> None:
    assert resolve_carrier(carrier, None, US).needs_correction


def _load(folder: Path) -> CarrierTable:
    text = read_overrides(folder)
    assert text is not None
    return read_override_table(text, folder)


def test_the_users_own_table_comes_first_by_service_and_by_country(tmp_path: Path) -> None:
    (tmp_path / "carriers.csv").write_text(
        "\ufeff# ours\ncarrier,service,country,code,method\n"
        "Cycle Couriers,,,OnTrac,\n"
        "Cycle Couriers,express,,OnTrac,OnTrac Sunrise\n"
        "Cycle Couriers,,DE,GLS,\n"
        "ups,,,UPSMI,\n"
        "our own van,,,Other,\n",
        encoding="utf-8",
    )
    table = _load(tmp_path)
    assert resolve_carrier("cycle couriers", None, US, table).code == "OnTrac"
    assert resolve_carrier("Cycle-Couriers", "Express", DE, table).shipping_method == "OnTrac Sunrise"
    assert resolve_carrier("CYCLE COURIERS", "slow", DE, table).code == "GLS"
    assert resolve_carrier("UPS", None, US, table).code == "UPSMI"
    van = resolve_carrier("Our own van", None, US, table)
    assert (van.code, van.name, van.known) == (OTHER, "Our own van", True)
    assert resolve_carrier("our own van", None, IN, table).needs_correction


def test_without_a_table_of_the_users_there_are_no_overrides(tmp_path: Path) -> None:
    assert read_overrides(tmp_path) is None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("carrier,code\nups,UPS\n", "line 1: the columns must be"),
        ("carrier,service,country,code,method\nups,,,,\n", "line 2"),
        ("carrier,service,country,code,method\nups,UPS\n", "line 2 has 2 columns"),
        ("carrier,service,country,code,method\n\nups,,,,\n", "line 3: the column code must not be empty"),
        ("carrier;service;country;code;method\nups;UPS\n", "line 2 has 2 columns"),
        ("carrier;code\nups;UPS\n", "line 1: the columns must be carrier,service,country,code,method"),
        ("carrier|service|country|code|method\nups|||UPS|\n", "line 1: the columns must be"),
        ("c\0arrier,service,country,code,method\n", "line 1"),
        ("carrier,service,country,code,method\nups,,,U\u202ePS,\n", "line 2: the column code"),
        ("carrier,service,country,code,method\n" + "u" * 200 + ",,,UPS,\n", "line 2: the column carrier"),
        ("", "is empty"),
        ("# nothing\n\n", "is empty"),
        ("carrier,service,country,code,method\nups,,,UPS,\nU.P.S,,,UPSMI,\n", "line 3"),
    ],
)
def test_a_table_that_cannot_be_read_names_the_line(tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "carriers.csv").write_text(content, encoding="utf-8")
    with pytest.raises(CarrierTableError, match=problem):
        _load(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "carrier;service;country;code;method\nCycle Couriers;;;OnTrac;\n",
        "\ufeffCarrier;Service;Country;Code;Method\r\nCycle Couriers;;;OnTrac;\r\n",
        'sep=;\r\ncarrier;service;country;code;method\r\n"Cycle Couriers";;;OnTrac;\r\n',
        "carrier\tservice\tcountry\tcode\tmethod\nCycle Couriers\t\t\tOnTrac\t\n",
    ],
    ids=["semicolons", "with a mark and Windows lines", "with Excel's own line", "tabs"],
)
def test_a_table_that_excel_separated_otherwise_is_read(tmp_path: Path, content: str) -> None:
    (tmp_path / "carriers.csv").write_text(content, encoding="utf-8")
    assert resolve_carrier("cycle couriers", None, US, _load(tmp_path)).code == "OnTrac"


def test_every_code_of_the_table_is_one_that_amazon_takes_letter_for_letter() -> None:
    codes = {row.code for row in shipped_table().rows.values()}
    assert codes <= CARRIER_CODES
    assert len(codes) > 80


@given(st.text(max_size=40), st.one_of(st.none(), st.text(max_size=20)), st.sampled_from([US, DE, IN, "unknown"]))
def test_any_carrier_text_becomes_a_valid_carrier_or_a_hold(
    carrier: str, service: str | None, marketplace: str
) -> None:
    choice = resolve_carrier(carrier, service, marketplace)
    assert choice.code in CARRIER_CODES
    assert choice.needs_correction or choice.code != OTHER or choice.name
    assert bool(choice.reason) == (not choice.known)
