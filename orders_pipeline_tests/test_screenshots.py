"""The pictures of the tour are those that `make screenshots` takes, and small."""

from __future__ import annotations

import re

from orders_pipeline_tests.read_source import ROOT
from orders_pipeline_tests.screenshots import IMAGES, LARGEST_BYTES, PICTURES

TOUR = (ROOT / "docs" / "dagster-ui.md").read_text("utf-8")
TAKEN = {picture.name for picture in PICTURES}


def test_every_picture_of_the_tour_can_be_taken_anew():
    shown = re.findall(r"!\[[^\]]+\]\(images/(\w+)\.png\)", TOUR)
    assert len(shown) > 5
    assert set(shown) - TAKEN == set()


def test_no_picture_is_large():
    sizes = {name: (IMAGES / f"{name}.png").stat().st_size for name in TAKEN if (IMAGES / f"{name}.png").exists()}
    assert {name: size for name, size in sizes.items() if size >= LARGEST_BYTES} == {}
