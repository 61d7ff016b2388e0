"""Write the lock of a pom: ``scripts/lock-maven NAME…``. For who raises a version, not for who installs."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from installer import locks, maven, sums


def write_plugin_lock() -> int:
    """Lock the copying plugin itself. Returns the number of files."""
    with tempfile.TemporaryDirectory() as folder:
        found = maven.fetch_plugin(Path(folder))
    maven.PLUGIN_LOCK.write_text(sums.render(found))
    return len(found)


def write_lock(name: str, repository: Path) -> int:
    """Resolve ``installer/locks/maven/NAME.xml`` and write ``NAME.sha256``. Returns the number of files."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "artifacts"
        maven.copy(locks.MAVEN / f"{name}.xml", repository, target)
        found = sums.of_files((path for path in target.rglob("*") if path.is_file()), target)
    (locks.MAVEN / f"{name}.sha256").write_text(sums.render(found))
    return len(found)


def main() -> None:
    parser = argparse.ArgumentParser(prog="lock-maven", description=__doc__)
    parser.add_argument("names", nargs="+", metavar="NAME", help="a pom of installer/locks/maven, or `plugin`")
    parser.add_argument("--cache", type=Path, default=Path("/var/cache/appliance"))
    options = parser.parse_args()
    for name in options.names:
        count = write_plugin_lock() if name == "plugin" else write_lock(name, options.cache / "maven")
        print(f"{name}.sha256: {count} files")


if __name__ == "__main__":
    main()
