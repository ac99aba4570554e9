"""CONTRIBUTING.md, the hooks and the metadata are true: a recipe is followed in a copy of the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
import yaml

from orders_pipeline.database.engine import Database
from orders_pipeline.fulfillment.rows import insert_fulfillment_order
from orders_pipeline.settings import AMAZON_REQUIRED, WAREHOUSE_REQUIRED
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER
from orders_pipeline_tests.read_source import PACKAGE, ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def _section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_the_recipe_for_an_asset_works_in_a_copy(tmp_path: Path, database: Database, database_url: str):
    with database.transaction(SELLER) as tx:
        insert_fulfillment_order(
            tx, order_id="111-1111111-1111111", state="held",
            reasons=("no_sku",), ship_by=None)  # fmt: skip
    shutil.copytree(PACKAGE, tmp_path / "orders_pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    for kind, block in re.findall(
        r"^ *```(python|diff)\n(.*?)^ *```$", _section("Add an asset"), re.DOTALL | re.MULTILINE
    ):
        _follow(tmp_path, kind, textwrap.dedent(block))
    program = """
    import dagster as dg, orders_pipeline
    from orders_pipeline.definitions import build_defs
    from orders_pipeline.defs.fulfillment import hold_reasons
    definitions = build_defs()
    job = definitions.resolve_job_def("refresh_reports")
    assert dg.AssetKey("hold_reasons") in job.asset_layer.executable_asset_keys
    done = dg.materialize([hold_reasons], resources={"store": definitions.resources["store"]})
    (told,) = done.asset_materializations_for_node("hold_reasons")
    print(orders_pipeline.__file__, [record.data for record in told.metadata["by_reason"].records])
    """
    settings = dict.fromkeys((*AMAZON_REQUIRED, *WAREHOUSE_REQUIRED), "x") | {
        "AMAZON_SELLER_ID": SELLER, "AMAZON_MARKETPLACE_ID": MARKETPLACE, "AMAZON_SQS_QUEUE_URL": "http://127.0.0.1/q",
        "WMS_BASE_URL": "http://127.0.0.1", "ORDERS_DATABASE_URL": database_url, "ORDERS_DATA_DIR": str(tmp_path),
        "ORDERS_ENV_FILE": str(tmp_path / "no.env"), "PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"],
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=tmp_path, env=settings, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) in done.stdout
    assert "{'reason': 'no_sku', 'orders': 1}" in done.stdout


def _follow(tree: Path, kind: str, block: str) -> None:
    place, _, body = block.partition("\n")
    found = re.fullmatch(r"# (?:at the end of|in) (\S+)", place)
    assert found is not None, place
    file = tree / found.group(1)
    text = file.read_text("utf-8")
    if kind == "python":
        file.write_text(f"{text}\n\n{body}", "utf-8")
        return
    lines = body.splitlines()
    old, new = ("".join(f"{line[1:]}\n" for line in lines if line.startswith(sign)) for sign in "-+")
    assert text.count(old) == 1, f"{file.name} has no longer: {old}"
    file.write_text(text.replace(old, new), "utf-8")


def test_each_name_of_a_recipe_is_in_the_file_that_it_is_said_to_be_in():
    pattern = r"((?:`\w+`(?:,| or| and)? ?)+)(?:, (?:for|where)[^(`]*)?\s*\((?:both )?`([\w./]+\.py)`\)"
    flat = " ".join(PAGE.split())
    named = [(name, file) for names, file in re.findall(pattern, flat) for name in re.findall(r"`(\w+)`", names)]
    assert len(named) > 15
    for name, file in named:
        text = (ROOT / file).read_text("utf-8")
        assert re.search(rf"^(?:class |def )?{name}\b", text, re.MULTILINE), f"{name} in {file}"


def test_every_name_of_a_recipe_is_in_the_source():
    prose = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    source = "\n".join(
        path.read_text("utf-8") for folder in (PACKAGE, ROOT / "orders_pipeline_tests") for path in folder.rglob("*.py")
    )
    for name in re.findall(r"`(_?[A-Z]\w+|[a-z]+_\w+)`", prose):
        assert re.search(rf"\b{name}\b", source), name


def test_the_commands_that_run_one_test_name_tests_that_are_there():
    commands = [line.split("#")[0].split() for line in PAGE.splitlines() if line.startswith("$ .venv/bin/pytest")]
    assert len(commands) == 3
    for command in commands:
        (path,) = [word for word in command if word.startswith("orders_pipeline_tests")]
        assert (ROOT / path).exists(), path


def test_the_hooks_are_what_make_lint_runs():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    found = re.search(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert found is not None
    linted = [line.strip().lstrip("@").replace("$(BIN)", ".venv/bin") for line in found.group(1).splitlines()]
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    assert repository["repo"] == "local"
    assert [hook["entry"] for hook in repository["hooks"]] == linted
    for hook in repository["hooks"]:
        assert (hook["language"], hook["pass_filenames"], hook["always_run"]) == ("system", False, True)


def test_the_license_of_the_metadata_is_the_one_that_lies_beside_it():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert (project["license"], project["license-files"]) == ("Apache-2.0", ["LICENSE"])
    assert "Apache License" in (ROOT / "LICENSE").read_text("utf-8")[:200]
    lowest, below = (tuple(map(int, part.split("."))) for part in re.findall(r"3\.\d+", project["requires-python"]))
    told = {one.rpartition(" :: ")[2] for one in project["classifiers"] if one.startswith("Programming Language")}
    assert told == {f"3.{minor}" for minor in range(lowest[1], below[1])}


@pytest.mark.parametrize("heading", ["## [Unreleased]", "## [0.1.0]"])
def test_the_changelog_has_what_comes_and_what_was(heading: str):
    assert f"\n{heading}" in (ROOT / "CHANGELOG.md").read_text("utf-8")
