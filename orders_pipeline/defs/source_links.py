"""Links from an asset's page to the lines that make it, where ORDERS_SOURCE_URL says how the source is read.

An address, such as https://github.com/you/orders_pipeline/blob/main, leads to the repository's web page. `file` opens
the file of this machine in an editor: for development alone, since the UI then shows this machine's paths. Without the
setting there are none.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import dagster as dg

Asset = dg.AssetsDefinition | dg.AssetSpec

_REFERENCES = "dagster/code_references"
_ROOT = Path(__file__).resolve().parents[2]


def with_source_links(assets: Sequence[Asset]) -> Sequence[Asset]:
    """The assets; those that are made here each with the lines of its function."""
    url = os.environ.get("ORDERS_SOURCE_URL", "").rstrip("/")
    if not url:
        return assets
    with warnings.catch_warnings():
        # Dagster has no other way to say it than this beta.
        warnings.simplefilter("ignore", dg.BetaWarning)
        linked = [one for one in dg.with_source_code_references(assets) if isinstance(one, Asset)]
        return linked if url == "file" else dg.map_asset_specs(lambda spec: _with_address(spec, url), linked)


def _with_address(spec: dg.AssetSpec, url: str) -> dg.AssetSpec:
    held = spec.metadata.get(_REFERENCES)
    if not isinstance(held, dg.CodeReferencesMetadataValue):
        return spec
    addresses = [
        dg.UrlCodeReference(url=f"{url}/{Path(one.file_path).relative_to(_ROOT).as_posix()}#L{one.line_number}")
        for one in held.code_references
        if isinstance(one, dg.LocalFileCodeReference)
    ]
    references = dg.CodeReferencesMetadataValue(code_references=[*addresses])
    return spec.replace_attributes(metadata={**spec.metadata, _REFERENCES: references})
