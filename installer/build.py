"""Build environments or parts into the cache (``scripts/lay-down envs/test parts/kafka``), as ``./install`` does."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from installer.errors import InstallError
from installer.store import Store
from installer.tools import CacheTools


def main() -> int:
    parser = argparse.ArgumentParser(prog="lay-down", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="KIND/NAME", help="envs/NAME or parts/NAME; none means all parts")
    parser.add_argument("--cache", type=Path, default=Path("/var/cache/appliance"))
    options = parser.parse_args()
    os.umask(0o022)
    store = Store(options.cache)
    tools = CacheTools(store, say=print)
    try:
        with store.lock(print):
            for path in options.names or [f"parts/{name}" for name in tools.parts]:
                kind, _, name = path.partition("/")
                place = tools.environment(name) if kind == "envs" else tools.part(name)
                store.link(kind, name, place)
                print(f"{path} -> {place}")
    except InstallError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
