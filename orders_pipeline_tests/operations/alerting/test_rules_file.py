"""The file of rules: what it may say, what is told of a wrong one, and what holds meanwhile."""

from __future__ import annotations

from datetime import time, timedelta
from pathlib import Path

import jsonschema
import pytest
import yaml

from orders_pipeline.database.engine import Database
from orders_pipeline.operations.alerting.rules import AlertRules
from orders_pipeline.operations.alerting.rules_file import (
    LARGEST_FILE_BYTES,
    RulesFileWrong,
    json_schema,
    parse,
    rules_in_use,
)
from orders_pipeline.operations.alerts import ALERTS
from orders_pipeline_tests.read_source import ROOT

KINDS = {kind.name for kind in ALERTS}
EXAMPLE = (ROOT / "docs" / "alerts.example.yaml").read_text("utf-8")


def test_the_example_says_all_that_can_be_said_and_is_right():
    rules = parse(EXAMPLE, KINDS)
    assert rules.model_fields_set == set(AlertRules.model_fields)
    assert rules.digest is not None
    assert rules.quiet_hours is not None
    assert (rules.quiet_hours.start, rules.quiet_hours.until) == (time(22), time(7))
    assert rules.rule_of("package.by_hand", "info").channels == ()


def test_the_schema_is_the_codes_and_takes_the_example():
    schema = (ROOT / "docs" / "alerts.schema.json").read_text("utf-8")
    assert schema == json_schema(KINDS), "run `make docs`"
    jsonschema.validate(yaml.load(EXAMPLE, yaml.BaseLoader), yaml.safe_load(schema))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"kinds": {"order.lat": {}}}, yaml.safe_load(schema))


@pytest.mark.parametrize("content", ["", "# nothing\n", "{}"])
def test_an_empty_file_is_the_defaults(content: str):
    assert parse(content, KINDS) == AlertRules()


def test_times_need_no_quotes():
    rules = parse("quiet_hours: {from: 22:00, until: 7:30, except: [error, warning]}\ndigest: {at: 8:00}", KINDS)
    assert rules.quiet_hours is not None
    assert rules.digest is not None
    assert (rules.quiet_hours.start, rules.quiet_hours.until, rules.digest.at) == (time(22), time(7, 30), time(8))


def test_never_and_what_is_left_out_are_two_things():
    rules = parse("kinds: {order.late: {remind_after: never}, order.refused: {more_after: 2 d}}", KINDS)
    assert rules.rule_of("order.late", "error").remind_after is None
    assert rules.rule_of("order.refused", "error").remind_after == timedelta(hours=4)
    assert rules.rule_of("order.refused", "error").more_after == timedelta(days=2)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("time_zone: UTC\nquiet: {}", "line 2: quiet is not known here"),
        ("time_zone: Mars/Olympus", "line 1: time_zone: 'Mars/Olympus' is no time zone"),
        ("kinds:\n  order.lat: {}", "line 2: order.lat is no kind of alert; did you mean order.late?"),
        ("severities:\n  eror: {}", "line 2: severities.eror must be info, warning or error"),
        ("severities:\n  error:\n    channels: [sms]", "line 3: severities.error.channels.0 must be slack or email"),
        ("severities:\n  error:\n    channels: slack", "line 3: severities.error.channels must be a list"),
        ("severities:\n  error:\n    remind_after: soon", "line 3: severities.error.remind_after: 'soon' is no length"),
        ("quiet_hours:\n  from: 25:00\n  until: 07:00", "line 2: quiet_hours.from: '25:00' is no time of day"),
        ("quiet_hours:\n  from: 22:00", "line 1: quiet_hours.until is missing"),
        ("digest:\n  at: 8\n  att: 9", "line 2: digest.at: '8' is no time of day: write 07:00; line 3: digest.att"),
        ("time_zone: UTC\ntime_zone: UTC", "line 2: time_zone is there twice"),
        ("a: [1, 2", "line 1: it is not YAML"),
        ("- a\n- b", "line 1: the file must be a list of names with a value each"),
        ("just a text", "line 1: the file must be a list of names"),
        (("a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n"
         "d: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d]"), "it has too much in it"),
        ("a: &a [*a]", "line 1: it"),
        ("a: " + "[" * 1_100, "not YAML"),
        ("time_zone: \x00", "It is not YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line_and_what_to_do(content: str, told: str):
    with pytest.raises(RulesFileWrong) as wrong:
        parse(content, KINDS)
    assert told in str(wrong.value)
    assert str(wrong.value).endswith(
        "Mend it as docs/alerts.example.yaml shows; it is read again within half a minute."
    )


def test_what_was_right_before_stays_in_use_on_every_machine(database: Database, tmp_path: Path):
    file = tmp_path / "alerts.yaml"
    file.write_text("time_zone: Europe/Berlin\n")
    assert rules_in_use(database, file, KINDS).rules.time_zone == "Europe/Berlin"
    file.write_text("time_zone: Europe/Berlin\ndigest: soon\n")
    used = rules_in_use(database, file, KINDS)
    assert used.rules.time_zone == "Europe/Berlin"
    assert used.problem is not None
    assert used.problem.startswith(f"{file}: line 2: digest must be")
    assert used.problem.endswith("What it said before stays in use.")
    file.unlink()
    assert rules_in_use(database, file, KINDS).rules.time_zone == "Europe/Berlin"
    file.write_text("time_zone: UTC\n")
    assert rules_in_use(database, file, KINDS) == rules_in_use(database, file, KINDS)
    assert rules_in_use(database, file, KINDS).problem is None
    assert rules_in_use(database, file, KINDS).rules.time_zone == "UTC"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "it cannot be read (No such file or directory)"),
        (b"\xff\xfe", "it is not UTF-8 text"),
        (b"#" * (LARGEST_FILE_BYTES + 1), "it is larger than 65,536 bytes"),
    ],
)
def test_a_file_that_never_was_right_leaves_the_defaults(
    database: Database, tmp_path: Path, content: bytes | None, told: str
):
    file = tmp_path / "alerts.yaml"
    if content is not None:
        file.write_bytes(content)
    used = rules_in_use(database, file, KINDS)
    assert used.rules == AlertRules()
    assert used.problem is not None
    assert told in used.problem
    assert used.problem.endswith("The defaults are in use.")
    assert rules_in_use(database, None, KINDS) == rules_in_use(database, None, KINDS)
    assert rules_in_use(database, None, KINDS).problem is None
