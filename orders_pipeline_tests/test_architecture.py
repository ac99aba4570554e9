"""The map of the house: every folder has one sentence in docs/architecture.md, and every sentence its folder."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "orders_pipeline"
LONGEST_MODULE = 400


def _described() -> list[str]:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `([a-z_/]+)/` \| .+ \|$", page, re.MULTILINE)


def test_every_folder_is_described_once_and_every_description_has_its_folder():
    folders = {
        str(folder.relative_to(PACKAGE))
        for folder in PACKAGE.rglob("*")
        if folder.is_dir() and any(file.suffix in (".py", ".sql") for file in folder.iterdir() if file.is_file())
    }
    described = _described()
    assert sorted(described) == sorted(set(described))
    assert set(described) == folders


def test_no_module_is_longer_than_one_reading():
    modules = [*PACKAGE.rglob("*.py"), *(ROOT / "warehouses").rglob("*.py")]
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in modules}
    assert {str(path): length for path, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_the_tests_mirror_the_package():
    tests = ROOT / "orders_pipeline_tests"
    folders = {folder.parent.relative_to(tests) for folder in tests.rglob("test_*.py")}
    mirrored = {folder for folder in folders if (PACKAGE / folder).is_dir() or (ROOT / folder).is_dir()}
    assert {str(folder) for folder in folders - mirrored} == {"chaos"}
