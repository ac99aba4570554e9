"""`make audit`: known vulnerabilities of what is pinned, by pip-audit. It says so where it reached no network.

Exits with 1 where there are any, with 2 where not everything could be looked up: nothing found is no proof then.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from supply_chain.pins import ROOT

FOUND, NOT_LOOKED_UP = 1, 2
PINS = (ROOT / "requirements.txt", ROOT / "deploy" / "container" / "requirements.txt")


def verdict(report: Mapping[str, Any]) -> tuple[int, list[str]]:
    """The exit code and what to say, from pip-audit's JSON."""
    releases: Sequence[Mapping[str, Any]] = report["dependencies"]
    lines = [
        f"{release['name']} {release['version']}: {one['id']}, mended in {', '.join(one['fix_versions']) or 'none yet'}"
        for release in releases
        for one in release.get("vulns", ())
    ]
    skipped = [release["name"] for release in releases if "skip_reason" in release]
    if lines:
        return FOUND, [*lines, *_not_looked_up(skipped, len(releases))]
    if skipped or not releases:
        return NOT_LOOKED_UP, _not_looked_up(skipped, len(releases))
    return 0, [f"{len(releases)} releases, no known vulnerability"]


def _not_looked_up(skipped: Sequence[str], total: int) -> list[str]:
    if not skipped and total:
        return []
    named = ", ".join(skipped[:5]) + (", …" if len(skipped) > 5 else "")
    what = f"NOT LOOKED UP: {len(skipped)} of {total} releases ({named})." if total else "NOT LOOKED UP: all of it."
    why = "The service that knows of vulnerabilities was not reached, or does not know them"
    return [f"{what} {why}: run it where there is a network, or name another one (ARGS='--service osv')."]


def main(arguments: Sequence[str]) -> int:
    codes: set[int] = set()
    for pins in PINS:
        command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--format", "json", "--requirement"]
        done = subprocess.run([*command, str(pins), *arguments], capture_output=True, text=True)  # noqa: S603
        try:
            code, lines = verdict(json.loads(done.stdout))
        except ValueError:
            code, lines = NOT_LOOKED_UP, [*_not_looked_up([], 0), *done.stderr.strip().splitlines()[-1:]]
        for line in lines:
            print(f"{pins.relative_to(ROOT)}: {line}")  # noqa: T201
        codes.add(code)
    return FOUND if FOUND in codes else max(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
