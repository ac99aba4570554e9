"""The licences of what the image installs, as each release's own metadata says it: docs/licences.md."""

from __future__ import annotations

import re
from importlib.metadata import PackageMetadata, metadata

from supply_chain.pins import pinned

# Those that a program under Apache-2.0 may be handed on with. MPL and LGPL bind changes of the library itself, which
# stays a file of its own in the image.
ALLOWED = frozenset(
    {
        "0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "LGPL-3.0-or-later", "MIT",
        "MIT-0", "MPL-2.0", "PSF-2.0", "Zlib",
    }
)  # fmt: skip
# How releases without an SPDX expression spell it: their own words, and the index's classifiers.
SPELLED = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "GNU Library or Lesser General Public License (LGPL)": "LGPL-3.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT license": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
UNKNOWN = "unknown"

_PAGE = """# Licences

What the image installs beside the pipeline (Apache-2.0), and under which licence, as each release's metadata says.
Written by `make docs` from `deploy/container/requirements.txt`. A test holds it, and refuses a licence that
`supply_chain/licences.py` does not allow.

| package | version | licence |
| --- | --- | --- |
"""


def licence(about: PackageMetadata) -> str:
    """An SPDX expression, or `unknown`: of the release's own expression, its words and its classifiers the first."""
    if expression := _first(about, "License-Expression"):
        return expression
    words = _first(about, "License").strip()
    spelled = SPELLED.get(words, words)
    if is_allowed(spelled):
        return spelled
    classifiers = [
        one.rsplit(" :: ", 1)[-1] for one in about.get_all("Classifier") or [] if one.startswith("License :: ")
    ]
    known = [SPELLED[one] for one in classifiers if one in SPELLED]
    # A release that names several lets one choose.
    return " OR ".join(known) or UNKNOWN


def _first(about: PackageMetadata, name: str) -> str:
    return (about.get_all(name) or [""])[0]


def is_allowed(expression: str) -> bool:
    """Whether all of what an expression binds to is allowed: of alternatives one."""
    if not expression:
        return False
    parts = [part.strip("() ").split(" WITH ")[0] for part in re.split(r"\s+AND\s+", expression)]
    return all(any(one.strip("() ") in ALLOWED for one in re.split(r"\s+OR\s+", part)) for part in parts)


def licences() -> dict[str, tuple[str, str]]:
    """(version, licence) by name. Raises PackageNotFoundError for what is not installed: `make setup`."""
    return {name: (version, licence(metadata(name))) for name, version in pinned().items()}


def as_markdown() -> str:
    return _PAGE + "".join(f"| {name} | {version} | {text} |\n" for name, (version, text) in licences().items())


if __name__ == "__main__":
    print(as_markdown(), end="")  # noqa: T201
