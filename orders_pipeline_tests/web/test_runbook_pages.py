"""The pages of docs/ beside the UI: every link of a description finds its section, and nothing else is served."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from orders_pipeline.web.runbook_pages import RunbookPages
from orders_pipeline_tests.defs.test_guide import DESCRIPTIONS, LINK
from orders_pipeline_tests.read_source import ROOT


def _client(folder: Path) -> TestClient:
    return TestClient(Starlette(routes=RunbookPages(folder).routes()), follow_redirects=False)


def test_every_link_of_a_description_leads_to_its_section():
    client = _client(ROOT / "docs")
    targets = {target for text in DESCRIPTIONS.values() for target in LINK.findall(text or "")}
    assert len(targets) > 20
    for target in targets:
        page, _, section = target.partition("#")
        answer = client.get(page)
        assert answer.status_code == 200, target
        assert not section or f'id="{section}"' in answer.text, target


def test_a_page_is_text_and_runs_nothing(tmp_path: Path):
    (tmp_path / "runbook.md").write_text("# Fetch <b>\n\n<script>alert(1)</script> [a](javascript:alert(1))\n")
    answer = _client(tmp_path).get("/docs/runbook.md")
    assert "&lt;script&gt;" in answer.text
    assert "<script" not in answer.text
    assert 'href="javascript' not in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    "path", ["../secret.md", "%2e%2e/secret.md", "..%2fsecret.md", "/etc/hostname", "secret.txt", ""]
)
def test_only_the_markdown_of_the_folder_is_served(tmp_path: Path, path: str):
    folder = tmp_path / "docs"
    folder.mkdir()
    (tmp_path / "secret.md").write_text("canary")
    (folder / "secret.txt").write_text("canary")
    answer = _client(folder).get(f"/docs/{path}")
    assert answer.status_code == 404
    assert "canary" not in answer.text


def test_where_the_pages_are_not_installed_it_says_what_to_set(tmp_path: Path):
    client = _client(tmp_path / "nowhere")
    assert client.get("/docs").headers["location"] == "/docs/runbook.md"
    assert "ORDERS_DOCS_URL" in client.get("/docs/runbook.md").text
