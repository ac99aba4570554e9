"""The releases that the image installs, as deploy/container/requirements.txt pins them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMAGE = ROOT / "deploy" / "container" / "requirements.txt"


def pinned(requirements: Path = IMAGE) -> dict[str, str]:
    """Version by name, both as the file spells them."""
    found = re.findall(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s\\;]+)", requirements.read_text("utf-8"), re.MULTILINE)
    return dict(found)
