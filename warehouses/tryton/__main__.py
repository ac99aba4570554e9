"""`python -m warehouses.tryton`: the sandbox as a process of its own, with a Tryton as its warehouse.

All options but two are the sandbox's.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from orders_pipeline.sandbox.__main__ import main as run_sandbox
from warehouses.tryton.installation import TrytonNotInstalled
from warehouses.tryton.sandbox import TrytonSandbox
from warehouses.tryton.server import TrytonNotStarted, prepare


def main(arguments: list[str]) -> int:
    options, of_the_sandbox = _parser().parse_known_args(arguments)
    try:
        if options.prepare:
            prepare(lambda sentence: print(sentence, flush=True))  # noqa: T201 - how far it is, for a person
            return 0
        with ExitStack() as stack:
            folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tryton-")))
            return run_sandbox(of_the_sandbox, make=partial(TrytonSandbox, folder=folder))
    except (TrytonNotInstalled, TrytonNotStarted) as error:
        print(error, file=sys.stderr)  # noqa: T201 - what a person must know
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m warehouses.tryton", description=__doc__, allow_abbrev=False)
    parser.add_argument("--folder", type=Path, help="where Tryton's database and log are (default: a temporary one)")
    parser.add_argument("--prepare", action="store_true", help="only install Tryton and prepare its database")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
