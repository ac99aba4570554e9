"""The compose file: each process alone, and one port, on loopback."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from orders_pipeline.settings import NAMES_IN_FILES, load_settings

COMPOSE = Path(__file__).parents[2] / "deploy" / "compose"
FILE = yaml.safe_load((COMPOSE / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = FILE["services"]


def _environment(service: dict[str, Any]) -> dict[str, str]:
    return dict(service.get("environment", {}))


def test_it_is_a_compose_file():
    checked = subprocess.run(
        [
            Path(sys.executable).parent / "check-jsonschema",
            "--builtin-schema",
            "vendor.compose-spec",
            COMPOSE / "compose.yaml",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_closed(name: str):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["user"].split(":")[0]) > 0
    assert not {"privileged", "pid", "ipc", "cap_add", "devices"} & set(service)
    assert all("noexec" in one for one in service["tmpfs"])
    assert int(service["stop_grace_period"].removesuffix("s")) >= 30, "daemon and code server need ten seconds to end"


def test_one_port_is_published_and_on_loopback_alone():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"web": ["${ORDERS_PUBLISH:-127.0.0.1:3000}:3000"]}


def test_the_code_server_is_reached_by_web_and_daemon_alone():
    assert FILE["networks"]["code"]["internal"] is True
    assert {name for name, service in SERVICES.items() if "code" in service.get("networks", [])} == {
        "code",
        "daemon",
        "web",
    }
    assert {name for name, service in SERVICES.items() if "outside" in service.get("networks", [])} == {"code", "web"}
    others = set(SERVICES) - {"code", "daemon", "web"}
    assert {SERVICES[name]["network_mode"] for name in others} == {"none"}


def test_each_process_is_given_the_secrets_that_it_needs_and_no_other():
    for name, service in SERVICES.items():
        if name == "database":
            continue
        files = {key: path for key, path in _environment(service).items() if key.endswith("_FILE")}
        of_secrets = {path.removeprefix("/run/secrets/") for path in files.values() if path.startswith("/run/secrets/")}
        assert of_secrets == set(service["secrets"]), name
        known = {f"{one}_FILE" for one in NAMES_IN_FILES} | {"ORDERS_WEB_USERS_FILE", "ORDERS_KEYRING_FILE"}
        assert set(files) <= known, name
    for name in ("migrate", "migrate-after", "daemon"):
        assert SERVICES[name]["secrets"] == ["database_url"]
    assert all(one["file"].startswith("secrets/") for one in FILE["secrets"].values())


def test_nothing_starts_before_the_half_of_the_migrations_that_it_needs():
    assert SERVICES["migrate"]["command"] == ["orders-pipeline", "migrate", "--only", "before"]
    assert SERVICES["migrate-after"]["command"] == ["orders-pipeline", "migrate", "--only", "after"]
    assert SERVICES["migrate-after"]["profiles"] == ["after"], "it is started by hand alone"
    for name in ("code", "web"):
        assert SERVICES[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    assert SERVICES["daemon"]["depends_on"] == {"code": {"condition": "service_healthy"}}
    for name in ("database", "code", "daemon", "web"):
        assert "healthcheck" in SERVICES[name], name


def test_the_settings_are_enough_and_the_port_asks_for_a_login(tmp_path: Path):
    """What the web's container is told, with the example filled in and files for the secrets."""
    lines = (COMPOSE / "settings.env.example").read_text("utf-8").splitlines()
    given = {
        "AMAZON_LWA_CLIENT_ID": "client",
        "AMAZON_SELLER_ID": "A1EXAMPLE",
        "AMAZON_MARKETPLACE_ID": "ATVPDKIKX0DER",
        "AMAZON_SQS_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/000000000000/orders",
        "WMS_BASE_URL": "https://warehouse.example",
    }
    assert set(given) <= {line.removesuffix("=") for line in lines}
    environment = {**given, **_environment(SERVICES["web"])}
    for key, path in environment.items():
        if key.endswith("_FILE") and path.startswith("/run/secrets/"):
            secret = tmp_path / Path(path).name
            secret.write_text(
                "postgresql://orders:secret@/orders?host=/var/run/postgresql" if "url" in path else "word"
            )
            secret.chmod(0o600)
            environment[key] = str(secret)
        else:
            environment[key] = re.sub(r"\$\{\w+:-([^}]+)\}", r"\1", path)
    environment["ORDERS_DATA_DIR"] = str(tmp_path)
    settings = load_settings(environment)
    assert settings.problems == ()
    without_login = {key: value for key, value in environment.items() if key != "ORDERS_WEB_USERS_FILE"}
    assert any("lets anybody in" in problem for problem in load_settings(without_login).problems)
