"""A carriers.csv that cannot be read: the last good table stays in use, in every process, with an alert."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from orders_pipeline.database.engine import Database
from orders_pipeline.shipments.carriers_in_use import carriers_in_use
from orders_pipeline_tests.world import World

HEAD = "carrier,service,country,code,method\n"
GOOD = HEAD + "Cycle Couriers,,,OnTrac,\nNight Mail,,,DHL,\n"


def _codes(database: Database, folder: Path) -> list[str]:
    """As a new process would find them."""
    with_own_pool = Database(database.engine.url.render_as_string(hide_password=False))
    try:
        table = carriers_in_use(with_own_pool, data_dir=folder)
    finally:
        with_own_pool.close()
    return sorted(row.code for row in table.rows.values())


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"carrier;code\nCycle Couriers;OnTrac\n", "line 1: the columns must be"),
        (GOOD.encode("utf-16"), "line 1: not UTF-8"),
        ((GOOD + "Colis Privé,,,Colis Prive,\n").encode("cp1252"), "line 4: not UTF-8"),
        ((HEAD + "Cycle Couriers,,,On").encode(), "line 2 has 4 columns"),
        (b"", "is empty"),
        (b"\0" * 64, "line 1"),
        (b"x" * (1024 * 1024 + 1), "is larger than 1024 KB"),
        ((HEAD + "# a\0b\nNight Mail,,,UPS,\n").encode(), "line 2: a NUL character"),
        ((GOOD + "\0\n").encode(), "line 4: a NUL character"),
        (None, "is gone"),
    ],
    ids=["columns", "UTF-16", "cp1252", "cut off", "empty", "zeros", "endless", "NUL in a comment", "NUL line", "gone"],
)
def test_the_last_good_table_stays_in_use_until_the_file_is_good_again(
    world: World, tmp_path: Path, raw: bytes | None, told: str
):
    file = tmp_path / "carriers.csv"
    file.write_text(GOOD)
    assert _codes(world.database, tmp_path) == ["DHL", "OnTrac"]
    if raw is None:
        file.unlink()
    else:
        file.write_bytes(raw)
    for _ in range(2):
        assert _codes(world.database, tmp_path) == ["DHL", "OnTrac"]
    alert = world.alerts()["carriers.file"]
    assert told in alert.message
    assert "last read stays in use" in alert.message
    file.write_text(HEAD + "Cycle Couriers,,,GLS,\n")
    assert _codes(world.database, tmp_path) == ["GLS"]
    assert world.alerts() == {}


def test_a_folder_in_the_files_place_is_told_too(world: World, tmp_path: Path):
    (tmp_path / "carriers.csv").mkdir()
    assert _codes(world.database, tmp_path) == []
    assert "cannot be read (IsADirectoryError)" in world.alerts()["carriers.file"].message
    assert "never readable" in world.alerts()["carriers.file"].message


def test_without_a_file_there_is_no_table_and_no_alert(world: World, tmp_path: Path):
    assert _codes(world.database, tmp_path) == []
    assert world.alerts() == {}


def test_a_file_whose_end_is_missing_is_believed_once_it_is_not_being_written(world: World, tmp_path: Path):
    file = tmp_path / "carriers.csv"
    file.write_text(GOOD)
    _codes(world.database, tmp_path)
    file.write_text(HEAD + "Cycle Couriers,,,OnTrac,\n")
    assert _codes(world.database, tmp_path) == ["DHL", "OnTrac"], "probably not whole yet"
    assert world.alerts() == {}
    before = time.time() - 60
    os.utime(file, (before, before))
    assert _codes(world.database, tmp_path) == ["OnTrac"]


def test_a_mapping_that_was_last_good_goes_on_confirming_under_its_code(world: World, tmp_path: Path):
    file = tmp_path / "carriers.csv"
    file.write_text(GOOD)
    carriers_in_use(world.database, data_dir=tmp_path)
    file.write_bytes(GOOD.encode("utf-16"))
    world.carriers = carriers_in_use(world.database, data_dir=tmp_path)
    package_id = world.ship(world.accepted(), carrier="Cycle Couriers")
    world.confirm_and_verify()
    assert (world.package(package_id).state, world.package(package_id).carrier_code) == ("confirmed", "OnTrac")


def _keep(world: World, content: str) -> None:
    """A release that read more leniently kept this table."""
    world.sql("update pipeline.carrier_files set content = :content", content=content)


@pytest.mark.parametrize(
    "raw", [b"carrier;code\n", None, b"carrier,service"], ids=["unreadable", "gone", "being written"]
)
def test_a_kept_table_that_this_release_no_longer_reads_stops_no_confirmation(
    world: World, tmp_path: Path, raw: bytes | None
):
    file = tmp_path / "carriers.csv"
    file.write_text(GOOD)
    _codes(world.database, tmp_path)
    _keep(world, "carrier,service,country\nCycle Couriers,,\n")
    if raw is None:
        file.unlink()
    else:
        file.write_bytes(raw)
    world.carriers = carriers_in_use(world.database, data_dir=tmp_path)
    assert world.carriers.rows == {}
    alert = world.alerts()["carriers.file"]
    assert "was last read is no table for this release" in alert.message
    package_id = world.ship(world.accepted(), carrier="Cycle Couriers")
    world.confirm_and_verify()
    assert (world.package(package_id).state, world.package(package_id).carrier_code) == ("confirmed", "Other")


def test_a_kept_table_that_is_no_longer_read_is_replaced_by_a_good_file(world: World, tmp_path: Path):
    (tmp_path / "carriers.csv").write_text(GOOD)
    _codes(world.database, tmp_path)
    _keep(world, GOOD + "Cycle Couriers,,,DHL,\n")
    assert _codes(world.database, tmp_path) == ["DHL", "OnTrac"]
    assert world.alerts() == {}


def test_a_machine_that_never_had_the_file_uses_the_kept_table_and_says_nothing(world: World, tmp_path: Path):
    with_file, without = tmp_path / "one", tmp_path / "other"
    with_file.mkdir()
    without.mkdir()
    (with_file / "carriers.csv").write_text(GOOD)
    for _ in range(3):
        assert _codes(world.database, with_file) == ["DHL", "OnTrac"]
        assert _codes(world.database, without) == ["DHL", "OnTrac"]
    assert world.rows("pipeline.alerts") == []
    (with_file / "carriers.csv").unlink()
    for _ in range(3):
        assert _codes(world.database, with_file) == ["DHL", "OnTrac"]
        assert _codes(world.database, without) == ["DHL", "OnTrac"]
        assert "carriers.file" in world.alerts(), "the machine without a file closes no other's alert"
