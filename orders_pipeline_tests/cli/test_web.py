"""The commands of the web port: one sentence for what would open it to anybody, before anything is started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from orders_pipeline.cli.main import main
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.web.users import UsersFile
from orders_pipeline.web.visitor import Role
from orders_pipeline_tests.pipeline import point_environment_at

PASSWORD = "Correct-Horse-9"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(subscribed=False) as running:
        yield running


def test_a_persons_line_holds_no_password_and_opens_the_login(tmp_path: Path):
    made = CliRunner().invoke(main, ["web-user", "maria", "--role", "viewer"], input=f"{PASSWORD}\n{PASSWORD}\n")
    assert made.exit_code == 0, made.output
    assert PASSWORD not in made.output
    (tmp_path / "users").write_text(made.stdout.splitlines()[-1] + "\n")
    (tmp_path / "users").chmod(0o600)
    user = UsersFile(tmp_path / "users").verify("maria", PASSWORD)
    assert user is not None
    assert user.role is Role.VIEWER
    assert UsersFile(tmp_path / "users").verify("maria", PASSWORD + "!") is None


@pytest.mark.parametrize("arguments", [["maria jones", "--password", PASSWORD], ["maria", "--password", "too short"]])
def test_a_bad_name_or_password_is_refused_with_a_sentence(arguments: list[str]):
    refused = CliRunner().invoke(main, ["web-user", *arguments])
    assert refused.exit_code == 2
    assert "Traceback" not in refused.output
    assert refused.output.startswith("error:")


@pytest.mark.parametrize(
    ("arguments", "settings", "expected"),
    [
        (["--host", "0.0.0.0"], {}, "lets anybody in"),
        ([], {"ORDERS_WEB_LISTEN": "0.0.0.0"}, "lets anybody in"),
        ([], {"ORDERS_WEB_USERS_FILE": "missing"}, "cannot be read"),
    ],
)
@pytest.mark.parametrize("command", ["up", "web"])
def test_a_port_that_would_let_anybody_in_is_refused_before_anything_is_started(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    command: str, arguments: list[str], settings: dict[str, str], expected: str,
):  # fmt: skip
    point_environment_at(sandbox, "", tmp_path, monkeypatch, **settings)
    refused = CliRunner().invoke(main, [command, *arguments])
    assert refused.exit_code == 2, refused.output
    assert expected in refused.output
    assert not (tmp_path / "postgres").exists()
