"""What gets into the image: the pipeline as it runs, and nothing that is for trying it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
import tomllib
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import requires
from pathlib import Path

import pytest
from docker.utils import exclude_paths
from packaging.requirements import Requirement

from orders_pipeline_tests.free_port import free_port

ROOT = Path(__file__).parents[2]
CONTAINER = ROOT / "deploy" / "container"
DOCKERFILE = (CONTAINER / "Dockerfile").read_text("utf-8")
FOR_TRYING = ("orders_pipeline/sandbox/", "orders_pipeline/demo.py", "orders_pipeline/wms/conformance/", "_tests/")


@pytest.fixture(scope="module")
def context() -> set[str]:
    """The files that the engine is sent."""
    patterns = [
        line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line and not line.startswith("#")
    ]
    return {name for name in exclude_paths(str(ROOT), patterns) if (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def wheel(context: set[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our wheel, built of these files alone, as the first stage builds it."""
    folder = tmp_path_factory.mktemp("stage")
    for name in context:
        if name.startswith("orders_pipeline/") or name in ("pyproject.toml", "README.md", "LICENSE"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    code = "import sys, setuptools.build_meta as build; build.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(folder)], cwd=folder, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_engine_is_sent_no_secret_no_test_and_nothing_for_trying(context: set[str]):
    allowed = ("orders_pipeline/", "docs/", "deploy/container/", "deploy/ecs/")
    single = {"pyproject.toml", "README.md", "LICENSE", "dagster.yaml", ".dockerignore", "deploy/container/Dockerfile"}
    assert {name for name in context if not name.startswith(allowed)} <= single
    assert not [name for name in context if any(part in name for part in FOR_TRYING)]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    for name in " ".join(copied).split():
        assert any(one == name or one.startswith(f"{name}/") for one in context), f"{name} is copied, and not sent"


def test_the_wheel_of_the_image_has_every_file_of_the_pipeline_and_no_sandbox(wheel: Path, context: set[str]):
    names = set(zipfile.ZipFile(wheel).namelist())
    of_the_package = {name for name in context if name.startswith("orders_pipeline/")}
    assert len(of_the_package) > 300
    assert of_the_package - names == set()
    assert not [name for name in names if any(part in name for part in FOR_TRYING)]


def test_nothing_in_the_image_needs_what_was_left_out(context: set[str]):
    needs = re.compile(r"^\s*(?:from|import) orders_pipeline\.(?:sandbox|demo|wms\.conformance)\b", re.MULTILINE)
    modules = {name for name in context if name.endswith(".py") and name.startswith("orders_pipeline/")}
    assert not {name for name in modules if needs.search((ROOT / name).read_text("utf-8"))}


def _pins(path: Path) -> dict[str, str]:
    pins = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", path.read_text("utf-8"), re.MULTILINE)
    return {_plain(name): version for name, version in pins}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _needed() -> set[str]:
    """What the pipeline declares, and all that these need here, as their own metadata say."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    waiting = [Requirement(one) for one in (*project["dependencies"], *project["optional-dependencies"]["kubernetes"])]
    found: dict[str, set[str]] = {}
    while waiting:
        requirement = waiting.pop()
        name, extras = _plain(requirement.name), set(requirement.extras) | {""}
        if new := extras - found.setdefault(name, set()):
            found[name] |= new
            declared = [Requirement(line) for line in requires(name) or []]
            waiting += [
                one for one in declared if one.marker is None or any(one.marker.evaluate({"extra": e}) for e in new)
            ]
    return set(found)


def test_the_image_installs_what_the_pipeline_needs_and_no_more_at_the_versions_that_are_tested():
    pins = _pins(CONTAINER / "requirements.txt")
    tested = _pins(ROOT / "requirements.txt")
    assert set(pins) == _needed(), "run `make container-pins`"
    assert {name: version for name, version in pins.items() if tested.get(name) != version} == {}
    assert not {"pytest", "moto", "hypothesis", "setuptools", "pip"} & set(pins)


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-build.txt"])
def test_every_package_of_the_image_has_its_hashes_and_no_address(name: str):
    text = (CONTAINER / name).read_text("utf-8")
    assert "://" not in text and not re.search(
        r"^\s*-", re.sub(r"^\s+--hash=", "", text, flags=re.MULTILINE), re.MULTILINE
    )
    for pin in re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).strip()):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", pin), pin.splitlines()[0]
    assert "--require-hashes" in DOCKERFILE


def test_hadolint_finds_nothing():
    found = subprocess.run(
        [Path(sys.executable).parent / "hadolint", CONTAINER / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout) == (0, "")


def test_the_image_runs_as_nobody_in_particular_and_makes_no_keys_in_a_folder_that_goes_with_it():
    last_stage = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (.+)$", last_stage, re.MULTILINE) == ["10001:10001"]
    keyring = re.search(r"ORDERS_KEYRING_FILE=(\S+)", last_stage)
    data = re.search(r"ORDERS_DATA_DIR=(\S+)", last_stage)
    assert keyring and data and not keyring.group(1).startswith(data.group(1))
    assert "HEALTHCHECK" in last_stage and "compileall" in DOCKERFILE


@pytest.mark.parametrize(("status", "code"), [(200, 0), (302, 0), (401, 0), (403, 0), (500, 1), (503, 1), (None, 1)])
def test_the_health_check_takes_any_answer_of_the_guard_and_no_failure(status: int | None, code: int):
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status or 0)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    port = free_port()
    server = HTTPServer(("127.0.0.1", port), Answer) if status is not None else None
    thread = threading.Thread(target=server.serve_forever, args=(0.01,)) if server else None
    if thread:
        thread.start()
    try:
        checked = subprocess.run([sys.executable, CONTAINER / "healthcheck.py", str(port)], check=False)
        assert checked.returncode == code
    finally:
        if server and thread:
            server.shutdown()
            thread.join()
            server.server_close()
