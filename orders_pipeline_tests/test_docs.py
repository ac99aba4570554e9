"""The documents say what the code does, and name nothing that is not there."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import click
import pytest
import yaml

from bench.__main__ import main as bench
from orders_pipeline.cli.main import main
from orders_pipeline.definitions import build_defs
from orders_pipeline.defs import privacy_checks
from orders_pipeline.demo import main as demo
from orders_pipeline.fulfillment import eligibility
from orders_pipeline.fulfillment.states import ORDER_STATES
from orders_pipeline.operations import failures_page
from orders_pipeline.operations.alerting.words import Places, runbook_link
from orders_pipeline.operations.alerts import ALERTS
from orders_pipeline.privacy import shred_expired
from orders_pipeline.privacy.audit_export import copies as audit_copies
from orders_pipeline.privacy.checks import stored_values
from orders_pipeline.privacy.retention import clock
from orders_pipeline.settings import AMAZON_REQUIRED, WAREHOUSE_REQUIRED
from orders_pipeline.shipments.states import PACKAGE_STATES
from orders_pipeline_tests.chaos.chaos import main as chaos
from orders_pipeline_tests.read_source import PACKAGE, ROOT, environment_variables

README, RUNBOOK, COMPLIANCE = ROOT / "README.md", ROOT / "docs" / "runbook.md", ROOT / "docs" / "compliance.md"
OPERATORS_PAGES = (README, RUNBOOK, COMPLIANCE)
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]

# boto3, libpq and Dagster read these by themselves, and any setting may have the last one's form.
READ_BY_LIBRARIES = re.compile(r"AWS_[A-Z_]+|PG[A-Z]+|NAME_FILE")
# In code font, and of others: Amazon, AWS, PostgreSQL, Slack, Tryton, Prometheus and Dagster.
WORDS_OF_OTHERS = {
    "pg_cron", "pg_read_all_data", "pg_stat_statements", "rds_superuser", "no_proxy", "https_proxy", "delete_run",
    "pg_dump", "pg_dumpall", "pg_restore", "ignore_startup_parameters",
    "trytond_import_countries", "rule_files", "credentials_file", "runbook_url",
}  # fmt: skip
# Names that a reader replaces by their own.
EXAMPLES = {"analyst_maria", "shop_pipeline", "shop_migrator", "my_company", "parcelhouse_worker", "open_worker"}


def _text(*pages: Path) -> str:
    return "\n".join(page.read_text("utf-8") for page in pages)


def _code(*pages: Path) -> set[str]:
    """What stands in code font, in blocks too."""
    text = _text(*pages)
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    return {*blocks, *re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))}


def _words(*pages: Path) -> set[str]:
    return {word for code in _code(*pages) for word in re.findall(r"[\w-]+", code)}


def _bold(page: Path) -> set[str]:
    """The names that begin a point: `**order.parked**`, `**amazon.role:shipping_address**`."""
    return set(re.findall(r"\*\*([a-z_.]+)(?::[^*]*)?\*\*", _text(page)))


def _first_column(page: Path, header: str) -> set[str]:
    """The names in code font in the first cell of each row of the table that begins so."""
    lines = _text(page).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {header} |"))
    names: set[str] = set()
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        names.update(re.findall(r"`([^`]+)`", line.split(" | ")[0]))
    return names


@cache
def _definitions() -> dict[str, set[str]]:
    repository = build_defs().get_repository_def()
    graph = repository.asset_graph
    return {
        "asset": {key.to_user_string() for key in graph.get_all_asset_keys()},
        "check": {key.name for key in graph.asset_check_keys},
        "job": {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")},
        "sensor": {sensor.name for sensor in repository.sensor_defs},
        "schedule": {schedule.name for schedule in repository.schedule_defs},
    }


def test_the_pages_of_states_are_the_machines():
    for name, machine in (("order-states.md", ORDER_STATES), ("package-states.md", PACKAGE_STATES)):
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == machine.as_markdown(), "run `make docs`"


def test_the_page_of_failures_is_what_the_queues_do():
    assert (ROOT / "docs" / "failures.md").read_text(encoding="utf-8") == failures_page.as_markdown(), "run `make docs`"


def test_the_runbook_says_what_ends_every_hold():
    reasons = {value for name, value in vars(eligibility).items() if name.isupper() and isinstance(value, str)}
    others = {eligibility.MERCHANT, eligibility.AMAZON, eligibility.IN_STORE_PICK_UP, eligibility.REGULATED_PROGRAM}
    others.add(eligibility.APPROVED)
    assert _first_column(RUNBOOK, "reason") == reasons - others


# --- what Dagster shows


def test_the_readme_lists_the_assets_with_their_groups():
    graph = build_defs().get_repository_def().asset_graph
    groups: dict[str, set[str]] = {}
    for key in graph.get_all_asset_keys():
        groups.setdefault(graph.get(key).group_name or "", set()).add(key.to_user_string())
    rows = re.findall(rf"^\| ({'|'.join(groups)}) \| ([^|]+) \|", _text(README), re.MULTILINE)
    assert {group: set(re.findall(r"`(\w+)`", assets)) for group, assets in rows} == groups


def test_the_runbook_lists_every_job():
    assert _first_column(RUNBOOK, "job") == _definitions()["job"]


def test_the_runbook_lists_every_sensor_and_schedule():
    assert _first_column(RUNBOOK, "sensor or schedule") == _definitions()["sensor"] | _definitions()["schedule"]


def test_every_schedule_is_told_with_its_time():
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", _text(RUNBOOK), re.MULTILINE))
    for schedule in build_defs().get_repository_def().schedule_defs:
        minute, hour = str(schedule.cron_schedule).split()[:2]
        told = rows[schedule.name]
        if hour == "*":
            assert told == ("every ten minutes" if minute == "*/10" else f"at {minute} past"), schedule.name
        else:
            assert told == f"{int(hour):02d}:{minute} UTC", schedule.name


def test_every_check_is_in_the_runbook_with_what_it_means_what_to_do_and_when_it_is_over():
    of_the_flow, compliance = _first_column(RUNBOOK, "check"), _first_column(RUNBOOK, "compliance check")
    assert of_the_flow | compliance == _definitions()["check"]
    assert of_the_flow & compliance == set()
    assert compliance <= _words(COMPLIANCE)
    rows = [line for line in _text(RUNBOOK).splitlines() if re.match(r"\| `(\w+)` \|", line)]
    for check in of_the_flow | compliance:
        (row,) = [line for line in rows if line.startswith(f"| `{check}` |")]
        cells = [cell.strip() for cell in row.strip("|").split(" | ")]
        assert len(cells) == 4, check
        assert all(cells), check


def test_the_runbooks_index_leads_to_sections_and_to_every_one_that_an_alert_names():
    text = _text(RUNBOOK)
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^##+ (.+)$", text, re.M)
    }
    linked = set(re.findall(r"\]\(#([\w-]+)\)", text))
    assert linked - anchors == set()
    assert {runbook_link(kind.runbook, Places(runbook="x")).url for kind in ALERTS} <= {f"x#{one}" for one in linked}
    assert text.index("](#") < text.index("\n## "), "it is at the top"


# --- alerts


def _alert_kinds() -> set[str]:
    """The first word of every alert's key."""
    return {kind.name.partition(":")[0] for kind in ALERTS}


def test_the_runbook_has_a_point_for_every_kind_of_alert():
    # A red check is the alert `check:<name>`; the section "Compliance" says so of them all.
    points = _bold(RUNBOOK) | {word.partition(":")[0] for word in _code(RUNBOOK)}
    assert _alert_kinds() - points == set(), "write what it means and what to do"


def test_the_runbook_names_no_alert_check_or_asset_that_is_gone():
    known = _alert_kinds().union(*_definitions().values())
    named = {word for word in _bold(RUNBOOK) if "." in word or "_" in word}
    # Metadata of `orders`.
    assert named - known == {"quota_next_at"}


# --- settings


def test_every_variable_that_is_read_is_in_the_readme():
    assert environment_variables() - _words(README) == set()


def test_no_page_names_a_variable_that_nobody_reads():
    ours = re.compile(r"(?:AMAZON|WMS|ORDERS|SLACK|DAGSTER)_[A-Z_]+|PORT|NAME_FILE|AWS_[A-Z_]+|PG[A-Z]+")
    named = {word for word in _words(*OPERATORS_PAGES) if ours.fullmatch(word)}
    unread = {name for name in named - environment_variables() if not READ_BY_LIBRARIES.fullmatch(name)}
    assert unread == set()


def test_the_readme_and_the_example_name_every_required_setting():
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    for name in (*AMAZON_REQUIRED, *WAREHOUSE_REQUIRED):
        assert f"`{name}`" in _text(README), name
        assert re.search(rf"^{name}=$", example, re.MULTILINE), name


def test_the_example_file_names_only_settings_that_exist():
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    named = set(re.findall(r"^#? ?([A-Z_]+)=", example, re.MULTILINE))
    assert named <= environment_variables()
    # What the README's table calls "one machine only", or what is for the first day alone.
    assert {"ORDERS_START_AT", "ORDERS_DATABASE_URL", "ORDERS_KMS_KEY_ID", "ORDERS_AUDIT_EXPORT"} <= named


# --- the compliance page


def test_the_compliance_page_names_every_check_and_no_file_that_is_not_there():
    page = (ROOT / "docs" / "compliance.md").read_text(encoding="utf-8")
    checks = {
        *privacy_checks.LOG_CHECKS,
        *privacy_checks.EXPORT_CHECKS,
        *privacy_checks.RETENTION_CHECKS,
        *privacy_checks.HISTORY_CHECKS,
    }
    assert {name for name in checks if f"`{name}`" not in page} == set()
    # A name without a folder stands for a file that the page named before with it.
    named = {name for name in re.findall(r"`([a-z_/]+\.(?:py|sql))`", page) if "/" in name}
    folders = (ROOT, ROOT / "orders_pipeline", ROOT / "orders_pipeline_tests")
    assert {name for name in named if not any((folder / name).is_file() for folder in folders)} == set()


def test_the_compliance_page_has_the_numbers_of_the_code():
    page = " ".join((ROOT / "docs" / "compliance.md").read_text(encoding="utf-8").split())
    for said in (
        f"{clock.AFTER_DELIVERY.days} days after delivery",
        f"{(clock.LIMIT - clock.LIMIT_MARGIN).days} days after",
        f"{clock.RETAINED_AT_MOST.days} days after it was first kept",
        f"the day's newest {stored_values.RECORDS_AT_MOST:,} orders",
        f"the last {audit_copies.DAYS_ALWAYS_READ} days",
        f"kept for {round(shred_expired.AUDIT_LIFE.days / 30.4)} months",
        f"{round(shred_expired.NON_PII_LIFE.days / 30.4)} months at most",
    ):
        assert said in page, said
    assert audit_copies.TURN_DAYS == 28, "a twenty-eighth"
    settings = yaml.safe_load((ROOT / "dagster.yaml").read_text(encoding="utf-8"))
    assert settings["compute_logs"]["class"] == "NoOpComputeLogManager", "compute logs off"


# --- commands


def _commands(group: click.Group = main, before: str = "orders-pipeline") -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        words = f"{before} {name}"
        found |= _commands(command, words) if isinstance(command, click.Group) else {words: command}
    return found


@pytest.mark.parametrize("words", list(_commands()))
def test_the_runbook_lists_every_command_with_its_options(words: str):
    lines = [line for line in _text(RUNBOOK).splitlines() if re.match(rf"\| `{words}[ `]", line)]
    assert len(lines) == 1, words
    options = {option for param in _commands()[words].params for option in param.opts if option.startswith("--")}
    assert set(re.findall(r"--[a-z-]+", lines[0])) == options


def test_no_page_names_a_command_that_is_not_there():
    known = set(_commands())
    for code in _code(*OPERATORS_PAGES):
        for words in re.findall(r"\borders-pipeline ([a-z]+[a-z-]*(?: [a-z]+[a-z-]*)?)", code):
            first, _, second = words.partition(" ")
            assert {f"orders-pipeline {first}", f"orders-pipeline {first} {second}"} & known, words


@pytest.mark.parametrize("target,command", [("demo", demo), ("dev", demo), ("bench", bench), ("chaos", chaos)])
def test_the_runbook_lists_the_options_of_what_make_starts(target: str, command: click.Command):
    (row,) = [line for line in _text(RUNBOOK).splitlines() if re.match(rf"\| .*`make {target}`.* \| `--", line)]
    options = {option for param in command.params for option in param.opts if option.startswith("--")}
    assert set(re.findall(r"`(--[a-z-]+)`", row)) == options
    for given in re.findall(rf'make {target} ARGS="([^"]+)"', _text(*PAGES)):
        command.make_context(target, given.split())


# --- everything in code font


@cache
def _source() -> str:
    # Not the tests: a name that only they hold is gone.
    kept = (
        ROOT / "dagster.yaml",
        ROOT / "pyproject.toml",
        *(path for path in (ROOT / "deploy").rglob("*") if path.is_file()),
    )
    return _text(*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.sql"), *kept)


def test_every_name_in_code_font_is_in_the_source():
    # CONTRIBUTING's recipe has new names; its own test follows it.
    pages = [page for page in PAGES if page.name != "CONTRIBUTING.md"]
    snake, camel = r"_?[a-z0-9]+(?:_[a-z0-9]+)+", r"[A-Z][a-z]+(?:[A-Z][a-z0-9]+)+"
    pattern = rf"(?<![\w/])(?:{snake}|{camel})(?![\w/]|\.py)"
    # So has the example of docs/warehouse-adapters.md, which its own test runs.
    named = [code for code in _code(*pages) if not code.startswith("# my_company/")]
    words = {word for code in named for word in re.findall(pattern, code)}
    source = set(re.findall(r"\w+", _source()))
    # `orders_pipeline_app`, `_reader`, `_retention`: the short forms of names with one beginning.
    gone = {n for n in words - source if not (n.startswith("_") and any(word.endswith(n) for word in source))}
    assert gone - WORDS_OF_OTHERS - EXAMPLES == set()


def test_every_file_in_code_font_is_there():
    paths = {code for code in _code(*PAGES) if re.fullmatch(r"[\w./-]+(?:\.(?:py|sql|md|toml|txt|example)|/)", code)}
    roots = (ROOT, PACKAGE, ROOT / "docs", ROOT / "orders_pipeline_tests")
    everywhere = {path.name for path in PACKAGE.rglob("*")}
    # A name without a folder is a file of the sentence's subject.
    gone = {
        path
        for path in paths - {".orders_pipeline/"}  # made at the first start
        if not any((root / path).exists() for root in roots) and not ("/" not in path and path in everywhere)
    }
    assert gone == set()


def test_every_link_leads_to_a_page_that_is_there():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", _text(page)):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"


# --- decisions


def test_the_list_of_decisions_has_every_page_by_its_title():
    folder = ROOT / "docs" / "decisions"
    listed = re.findall(r"^- \[(.+)\]\((.+)\)$", _text(folder / "README.md"), re.MULTILINE)
    pages = sorted(page for page in folder.glob("*.md") if page.name != "README.md")
    assert [name for _, name in listed] == [page.name for page in pages]
    for title, name in listed:
        text = _text(folder / name)
        assert text.startswith(f"# {title}\n"), name
        assert re.findall(r"^\*\*(.+?)\.\*\*", text, re.MULTILINE) == ["Context", "Choice", "What would reverse it"]
