"""Run every benchmark, one after the other: they share two cores."""

from __future__ import annotations

from importlib import import_module

from bench.table import report

BENCHES = ("limits", "vault", "compliance")


def main() -> None:
    for name in BENCHES:
        module = import_module(f"bench.{name}")
        report(module.TITLE, module.run())


if __name__ == "__main__":
    main()
