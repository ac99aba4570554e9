"""Every command that the README, the documents or the Makefile name is run by a test, so that none rots.

`RUN_BY` is held both ways: a command that is named and not here fails, and so does an entry that nobody names, or whose
test is gone or does not type it. The tests below are of the Makefile's commands, at their smallest size.
"""

from __future__ import annotations

import ast
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.util import cache_from_source
from pathlib import Path

import click
import psutil
import pytest
import requests

from orders_pipeline.cli.main import main
from orders_pipeline_tests.chaos.chaos import main as chaos_main

ROOT = Path(__file__).resolve().parents[1]
READY = Path(tempfile.gettempdir()) / f"orders-commands-ready-{os.getpid()}"
HERE, CLI, STORE = "test_commands.py", "cli/test_main.py", "cli/test_store.py"

# What one test types on its way.
PERSON = f"{CLI}::test_a_person_reveals_and_erases_an_address_with_a_reason"
EXPORT = f"{CLI}::test_an_exported_day_is_kept_once_and_verified_without_database_or_settings"
RUN_BY = {
    "make": f"{HERE}::test_make_alone_names_the_commands",
    "make help": f"{HERE}::test_make_alone_names_the_commands",
    "make demo": f"{HERE}::test_make_demo_plays_a_small_day_to_its_right_end_and_leaves_nothing_running",
    "WMS=tryton make demo": f"{HERE}::test_make_demo_plays_a_small_day_to_its_right_end_and_leaves_nothing_running",
    "ACCOUNTS=2 make demo": f"{HERE}::test_make_demo_plays_a_small_day_to_its_right_end_and_leaves_nothing_running",
    "AMAZON_ORDERS_API=v0 make demo": f"{HERE}::"
    "test_make_demo_plays_a_small_day_to_its_right_end_and_leaves_nothing_running",
    "make dev": f"{HERE}::test_make_dev_stays_up_until_it_is_stopped_and_leaves_nothing_running",
    "make check": f"{HERE}::test_make_check_lints_types_validates_and_tests",
    "make lint": f"{HERE}::test_make_check_lints_types_validates_and_tests",
    "make types": f"{HERE}::test_make_check_lints_types_validates_and_tests",
    "make test": f"{HERE}::test_make_check_lints_types_validates_and_tests",
    "make browser": f"{HERE}::test_make_check_lints_types_validates_and_tests",
    "make promtool": f"{HERE}::test_make_check_lints_types_validates_and_tests",
    "make pgbouncer": f"{HERE}::test_make_check_lints_types_validates_and_tests",
    "lint-imports": f"{HERE}::test_make_check_lints_types_validates_and_tests",
    "make docs": f"{HERE}::test_make_docs_writes_the_pages_that_are_there",
    "make compiled": f"{HERE}::test_what_starts_runs_compiles_the_package_before",
    "make bench": "test_bench.py::test_every_benchmark_runs_to_its_end_and_reports_every_row",
    "make chaos": "chaos/test_chaos.py::test_every_order_ends_where_it_belongs_whatever_is_killed",
    "orders-pipeline up": f"{CLI}::test_up_starts_everything_and_on_sigterm_stops_all_that_it_started",
    "dagster dev": f"{CLI}::test_up_starts_everything_and_on_sigterm_stops_all_that_it_started",
    "orders-pipeline migrate": f"{STORE}::test_migrate_brings_an_empty_server_up_to_date_and_may_be_repeated",
    "orders-pipeline doctor": f"{CLI}::test_the_doctor_says_ok_line_by_line_once_subscribed_and_what_to_do_before",
    "orders-pipeline accounts": "defs/test_accounts.py"
    "::test_the_accounts_are_listed_and_with_check_each_has_asked_amazon_and_its_queue",
    "orders-pipeline subscribe": f"{CLI}::test_the_doctor_says_ok_line_by_line_once_subscribed_and_what_to_do_before",
    "orders-pipeline replay": f"{STORE}::test_a_parked_order_is_given_another_chance_by_name_and_by_reason",
    "orders-pipeline recover": f"{CLI}::test_an_order_that_a_person_names_is_made_due",
    "orders-pipeline reveal": PERSON,
    "orders-pipeline erase": PERSON,
    "orders-pipeline keys rotate": PERSON,
    "orders-pipeline keys replace-lost": f"{CLI}::test_a_lost_keyring_is_replaced_on_request_only",
    "orders-pipeline keys list": f"{STORE}::test_the_keys_are_listed_with_how_much_each_still_opens",
    "orders-pipeline audit verify": EXPORT,
    "orders-pipeline audit export": EXPORT,
    "orders-pipeline audit restore": EXPORT,
    "orders-pipeline adopt": f"{CLI}::test_adopting_an_order_by_its_id_says_what_it_did_and_refuses_what_is_no_id",
    "orders-pipeline authorize": "cli/test_authorize.py"
    "::test_a_private_applications_token_is_tried_before_it_is_sealed",
    "orders-pipeline client-secret rotate": "cli/test_authorize.py"
    "::test_without_a_queue_for_it_no_client_secret_is_rotated_and_the_command_says_so",
    "orders-pipeline client-secret receive": "cli/test_authorize.py"
    "::test_without_a_queue_for_it_no_client_secret_is_rotated_and_the_command_says_so",
    "orders-pipeline web": "web/test_attacks.py::test_no_page_of_somebody_else_and_no_get_changes_anything",
    "orders-pipeline web-user": "cli/test_web.py::test_a_persons_line_holds_no_password_and_opens_the_login",
    "python -m orders_pipeline.wms.conformance": "wms/conformance/test_suite.py"
    "::test_the_command_starts_the_sandbox_and_fails_where_a_promise_does",
    "dagster-webserver": f"{HERE}::test_a_deployments_own_processes_start_with_the_repositorys_files",
    "dagster-daemon": f"{HERE}::test_a_deployments_own_processes_start_with_the_repositorys_files",
    "dagster code-server": f"{HERE}::test_a_deployments_own_processes_start_with_the_repositorys_files",
}  # fmt: skip
# Typed by what the test calls.
TYPED_BY = {"orders-pipeline web": "second_ui(", "orders-pipeline authorize": 'run("--refresh-token-from"'}
NOT_RUN = {
    # They install from the package index, or ask it: `.ci/run` does some of that on a clean checkout, a test may not.
    "make setup", "make pins", "make container-pins", "make validators", "make validate", "make sbom", "make audit",
    # A container engine and a base image, many minutes, a command of Dagster's: the pages that name them say so.
    "make image", "make screenshots", "WMS=tryton make chaos", "dagster instance",
}  # fmt: skip

_COMMAND = re.compile(r"^(?:(?:make|orders-pipeline|dagster|dagster-\w+|lint-imports|pytest)(?: |$)|python3? -m )")
_ENVIRONMENT = re.compile(r"^(?:[A-Z_]+=\S+ +)+")


def test_every_documented_command_is_run_by_a_test():
    named = {_key(command) for command in _named()} | _subcommands() | _targets()
    assert named - set(RUN_BY) - NOT_RUN == set(), "run it in a test, at its smallest size, and list it"
    assert (set(RUN_BY) | NOT_RUN) - named == set(), "nobody names it any more"


@pytest.mark.parametrize("command", list(RUN_BY))
def test_the_test_that_runs_a_command_is_there_and_types_it(command: str):
    file, name = RUN_BY[command].split("::")
    source = (ROOT / "orders_pipeline_tests" / file).read_text("utf-8")
    (body,) = [
        ast.get_source_segment(source, node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    assert body is not None
    variables, (program, *words) = _variables(command), _without_variables(command).split()
    decorated = ast.unparse(next(one for one in ast.walk(ast.parse(source)) if getattr(one, "name", "") == name))
    for variable in variables:
        key, _, value = variable.partition("=")
        assert key in decorated and repr(value) in decorated, f"{RUN_BY[command]} does not set {variable}"
    if command in TYPED_BY:
        assert TYPED_BY[command] in body
    elif program in ("orders-pipeline", "dagster"):
        for word in words:
            assert f'"{word}"' in body, f"{RUN_BY[command]} does not type {word}"


def test_every_option_that_a_document_shows_exists():
    for command in _named():
        if command.startswith("orders-pipeline"):
            known = {option for one in _path(command) for param in one.params for option in param.opts}
            assert set(re.findall(r"--[a-z-]+", command)) <= known | {"--help"}, command


def test_make_alone_names_the_commands():
    told = _make().stdout
    assert told == _make("help").stdout
    for target in ("demo", "dev", "test", "check", "bench", "chaos"):
        assert f"make {target} " in told


def test_make_bench_and_make_chaos_run_what_their_tests_run():
    assert "-m bench --workload small" in _make("-n", "bench", "ARGS=--workload small").stdout
    chaos = "-m orders_pipeline_tests.chaos.chaos"
    assert f"{chaos} --kills 2" in _make("-n", "chaos", "ARGS=--kills 2").stdout
    assert f"{chaos} --wms tryton --kills 2" in _make("-n", "chaos", "WMS=tryton", "ARGS=--kills 2").stdout
    assert isinstance(chaos_main, click.Command)


def test_what_starts_runs_compiles_the_package_before(tmp_path: Path):
    """A run is a process of its own. Where Python may write no bytecode, each would compile the package anew."""
    for target in ("demo", "dev", "test", "bench", "chaos"):
        first, *_ = _make("-n", target).stdout.splitlines()
        assert "compileall" in first, target
    module = Path(cache_from_source(str(ROOT / "orders_pipeline" / "definitions.py")))
    module.unlink(missing_ok=True)
    environment = {**_environment(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    assert _make("compiled", environment=environment).returncode == 0
    assert module.exists()


@pytest.mark.processes
@pytest.mark.slow(33)
@pytest.mark.timeout(330)
def test_make_check_lints_types_validates_and_tests(tmp_path: Path):
    # Where there is no browser or Prometheus, one that looks like it: a test installs nothing.
    for name in ("chromium", "chromedriver", "promtool", "prometheus", "pgbouncer"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    environment = _environment(tmp_path)
    environment["PATH"] += f":{tmp_path}"
    file = "orders_pipeline_tests/work/test_progress.py"
    done = _make("check", f"ARGS={file}", "WORKERS=0", environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    for sign in ("All checks passed", "0 broken", "0 errors", "Validation successful", " passed"):
        assert sign in done.stdout + done.stderr


def test_make_docs_writes_the_pages_that_are_there(tmp_path: Path):
    (tmp_path / "docs").mkdir()
    assert _make("docs", cwd=tmp_path).returncode == 0
    written = {page.name: page.read_text("utf-8") for page in (tmp_path / "docs").iterdir()}
    assert written.keys() >= {"order-states.md", "package-states.md", "failures.md"}
    assert written == {name: (ROOT / "docs" / name).read_text("utf-8") for name in written}


@pytest.fixture
def checkout() -> Iterator[Path]:
    """A folder that is this repository for the demo, so that a person's own demo is left alone."""
    # Not tmp_path: the path of a UNIX socket may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        for name in ("workspace.yaml", "dagster.yaml"):
            shutil.copyfile(ROOT / name, Path(folder) / name)
        yield Path(folder).resolve()


@pytest.mark.processes
@pytest.mark.slow(85)
@pytest.mark.timeout(330)
@pytest.mark.parametrize(("warehouse", "orders_api", "accounts"), [("", "", "2"), ("tryton", "v0", "")])
def test_make_demo_plays_a_small_day_to_its_right_end_and_leaves_nothing_running(
    checkout: Path, warehouse: str, orders_api: str, accounts: str, request: pytest.FixtureRequest
):
    if warehouse:
        # Its database is prepared, or the test is skipped where Tryton cannot be installed.
        request.getfixturevalue(warehouse)
    size = f"--orders 8 --duration 2 --patience 170 --port {_free_port()}"
    environment = _environment(checkout) | ({"AMAZON_ORDERS_API": orders_api} if orders_api else {})
    done = _make(
        "demo", f"WMS={warehouse}", f"ACCOUNTS={accounts}", f"ARGS={size}", cwd=checkout, environment=environment
    )
    logs = {path.name: path.read_text("utf-8", "replace")[-2000:] for path in checkout.rglob("*.log")}
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{logs}"
    assert "Every order is where it belongs." in done.stdout
    assert ("A2OTHERSELLER01" in done.stdout) == (accounts == "2"), "each account is judged"
    assert _await(lambda: _processes_of(checkout) == [], 10), _processes_of(checkout)


@pytest.mark.processes
@pytest.mark.slow(35)
@pytest.mark.timeout(330)
def test_make_dev_stays_up_until_it_is_stopped_and_leaves_nothing_running(checkout: Path):
    port = _free_port()
    log = checkout / "make.log"
    with log.open("wb") as output:
        dev = subprocess.Popen(
            _make_command("dev", f"ARGS=--orders 4 --port {port}"), cwd=checkout, stdout=output, stderr=output,
            env=_environment(checkout),
        )  # fmt: skip
    try:
        assert _await(lambda: "Orders arrive" in log.read_text("utf-8") and _answers(port), 120, dev), log.read_text()
        started = _processes_of(checkout)
        assert len(started) > 5
        # As Ctrl-C in a terminal: the make goes with it.
        for process in [psutil.Process(dev.pid), *psutil.Process(dev.pid).children()]:
            process.send_signal(signal.SIGINT)
        dev.wait(timeout=90)
        assert _await(lambda: _processes_of(checkout) == [], 30), _processes_of(checkout)
    finally:
        _stop_tree(dev.pid)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}/server_info", timeout=5)


@pytest.mark.processes
@pytest.mark.slow(30)
@pytest.mark.timeout(330)
def test_a_deployments_own_processes_start_with_the_repositorys_files(
    database_url: str, dagster_url: str, tmp_path: Path
):
    """The three commands, with this repository's dagster.yaml and workspace.yaml."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copyfile(ROOT / "dagster.yaml", home / "dagster.yaml")
    environment = {
        **_environment(home), "DAGSTER_HOME": str(home), "ORDERS_DATA_DIR": str(tmp_path / "data"),
        "ORDERS_DATABASE_URL": database_url, "DAGSTER_POSTGRES_URL": dagster_url,
    }  # fmt: skip
    web, code = _free_port(), _free_port()
    workspace = str(ROOT / "workspace.yaml")
    commands = {
    "dagster-webserver": ["dagster-webserver", "-h", "127.0.0.1", "-p", str(web), "-w", workspace],
        "dagster-daemon": ["dagster-daemon", "run", "-w", workspace],
        "code-server": [
            "dagster", "code-server", "start", "-h", "127.0.0.1", "-p", str(code), "-m", "orders_pipeline.definitions",
        ],
    }  # fmt: skip
    logs = {name: tmp_path / f"{name}.log" for name in commands}
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in commands.items():
            with logs[name].open("wb") as log:
                running[name] = subprocess.Popen(
                    [str(_bin() / command[0]), *command[1:]], cwd=ROOT, env=environment, stdout=log, stderr=log
                )
        signs: dict[str, Callable[[], bool]] = {
            "dagster-webserver": lambda: _location_is_loaded(web),
            "dagster-daemon": lambda: (
                "Launched" in _read(logs["dagster-daemon"]) or "SensorDaemon" in _read(logs["dagster-daemon"])
            ),
            "code-server": lambda: _listens(code),
        }
        for name, sign in signs.items():
            assert _await(sign, 120, running[name]), _read(logs[name])
        for name, process in running.items():
            assert process.poll() is None, _read(logs[name])
    finally:
        for process in running.values():
            _stop_tree(process.pid)
    assert _await(lambda: _processes_of(home) == [], 10), _processes_of(home)


# --- what is named


def _named() -> list[str]:
    """The commands in backticks, in blocks of a console, and in what `make` tells, without comments."""
    found: list[str] = []
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = page.read_text("utf-8")
        for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
            found += [line[2:].split(" #")[0] for line in block.splitlines() if line.startswith("$ ")]
        found += re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    found += re.findall(r'"(make \w+)', (ROOT / "Makefile").read_text("utf-8"))
    each = [part.strip() for line in found for part in line.split("&&")]
    # `make` and `dagster` alone are a program's and a database's name in most sentences.
    return [command for command in each if _COMMAND.match(_without_variables(command)) and command != "dagster"]


def _without_variables(command: str) -> str:
    return _ENVIRONMENT.sub("", command)


def _variables(command: str) -> list[str]:
    return command.removesuffix(_without_variables(command)).split()


def _key(command: str) -> str:
    """The program and its subcommand, with the variables that are set for them: those choose what is run."""
    if variables := _variables(command):
        return " ".join([*variables, _key(_without_variables(command))])
    words = command.split()
    if words[0] == "orders-pipeline":
        return " ".join(["orders-pipeline", *(one.name or "" for one in _path(command)[1:])])
    if words[:2] == ["python", "-m"]:
        return " ".join(words[:3])
    return " ".join(words[:2] if words[0] in ("make", "dagster") else words[:1])


def _path(command: str) -> list[click.Command]:
    """The group and the commands below it that the words lead to."""
    path: list[click.Command] = [main]
    for word in command.split()[1:]:
        last = path[-1]
        if not isinstance(last, click.Group) or word not in last.commands:
            assert not isinstance(last, click.Group), f"{command!r} names no command: {word}"
            break
        path.append(last.commands[word])
    return path


def _subcommands(group: click.Group = main, before: str = "orders-pipeline") -> set[str]:
    found: set[str] = set()
    for name, command in group.commands.items():
        key = f"{before} {name}"
        found |= _subcommands(command, key) if isinstance(command, click.Group) else {key}
    return found


def _targets() -> set[str]:
    targets = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    return {f"make {target}" for line in targets for target in line.split()}


# --- running them


def _make(
    *arguments: str, cwd: Path = ROOT, timeout: float = 300, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _make_command(*arguments), cwd=cwd, env=environment or _environment(cwd), capture_output=True, text=True,
        check=False, timeout=timeout,
    )  # fmt: skip


def _make_command(*arguments: str) -> list[str]:
    # What is installed is what is tested: nothing is set up. `-o` does not reach a make within a make; a new file does.
    READY.touch()
    settings = ["-o", str(READY), f"READY={READY}", f"VENV={_bin().parent}"]
    return ["make", "--no-print-directory", "-f", str(ROOT / "Makefile"), *settings, *arguments]


def _bin() -> Path:
    return Path(sys.executable).parent


def _environment(mark: Path) -> dict[str, str]:
    """Without settings of the shell; what it starts is known by the mark."""
    ours = ("AMAZON_", "AWS_", "DAGSTER_", "MAKE", "MFLAGS", "ORDERS_", "PORT", "SLACK_", "WMS_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "COMMANDS_TEST": str(mark)}


def _processes_of(mark: Path) -> list[str]:
    found: list[str] = []
    for process in psutil.process_iter():
        try:
            if f"COMMANDS_TEST={mark}" in Path(f"/proc/{process.pid}/environ").read_text(errors="replace").split("\0"):
                found.append(" ".join(process.cmdline())[:200])
        except (OSError, psutil.Error):
            continue
    return found


def _await(ready: Callable[[], bool], seconds: float, process: subprocess.Popen[bytes] | None = None) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if ready():
            return True
        if process is not None and process.poll() is not None:
            return False
        time.sleep(0.2)
    return False


def _stop_tree(pid: int) -> None:
    try:
        root = psutil.Process(pid)
        tree = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        root.terminate()
    psutil.wait_procs([root], timeout=20)
    for process in tree:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(tree, timeout=10)


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/server_info", timeout=5).ok
    except requests.RequestException:
        return False


def _location_is_loaded(port: int) -> bool:
    query = "{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus } } } }"
    try:
        answer = requests.post(f"http://127.0.0.1:{port}/graphql", json={"query": query}, timeout=20).json()
    except (requests.RequestException, ValueError):
        return False
    return answer["data"]["workspaceOrError"]["locationEntries"] == [
        {"name": "orders_pipeline", "loadStatus": "LOADED"}
    ]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _read(path: Path) -> str:
    return path.read_text("utf-8", "replace")[-4000:]
