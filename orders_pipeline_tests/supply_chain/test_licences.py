"""What the image installs is under licences that it may be handed on with, and the page names each."""

from __future__ import annotations

from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from supply_chain.licences import as_markdown, is_allowed, licence, licences
from supply_chain.pins import IMAGE, ROOT, pinned


def _metadata(**fields: str) -> Any:
    message = Message()
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    return message


def test_every_release_of_the_image_is_under_an_allowed_licence():
    assert {name: text for name, (_, text) in licences().items() if not is_allowed(text)} == {}


def test_the_page_is_true():
    assert (ROOT / "docs" / "licences.md").read_text("utf-8") == as_markdown(), "make docs"


@pytest.mark.parametrize(
    ("fields", "expected", "allowed"),
    [
        ({"License_Expression": "Apache-2.0 AND MIT", "License": "whatever"}, "Apache-2.0 AND MIT", True),
        ({"License": "Apache 2.0"}, "Apache-2.0", True),
        ({"License": "a page of text", "Classifier": "License :: OSI Approved :: MIT License"}, "MIT", True),
        ({"License_Expression": "MIT AND GPL-3.0-only"}, "MIT AND GPL-3.0-only", False),
        ({"License_Expression": "MIT OR GPL-3.0-only"}, "MIT OR GPL-3.0-only", True),
        ({"License_Expression": "AGPL-3.0-or-later"}, "AGPL-3.0-or-later", False),
        ({"License": "ask us"}, "unknown", False),
        ({"Classifier": "License :: Other/Proprietary License"}, "unknown", False),
        ({}, "unknown", False),
    ],
)
def test_a_licence_is_read_and_judged_by_all_of_its_parts(fields: dict[str, str], expected: str, allowed: bool):
    found = licence(_metadata(**fields))
    assert (found, is_allowed(found)) == (expected, allowed)


def test_the_image_is_pinned_by_hash_at_the_versions_that_are_tested(tmp_path: Path):
    tested = {name.lower().replace("_", "-"): version for name, version in pinned(ROOT / "requirements.txt").items()}
    image = {name.lower().replace("_", "-"): version for name, version in pinned().items()}
    assert image.items() <= tested.items()
    text = IMAGE.read_text("utf-8")
    assert text.count(" \\\n    --hash=sha256:") >= len(image), "each release has hashes"
    assert "://" not in text
