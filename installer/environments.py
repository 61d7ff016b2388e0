"""Python environments from hash locks, built by uv with Debian's Python 3.11."""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from pathlib import Path

from installer import locks
from installer.errors import InstallError, RefusedFileError
from installer.run import run
from installer.store import address

PYTHON = Path("/usr/bin/python3.11")
NAMES = ("serving", "streaming", "training", "triton")
_RECIPE = b"venv relocatable, hashes required, no dependencies, bytecode compiled; 1"
_HINT = (
    "see that the Python package index (or the mirror in pip's or uv's configuration) can be reached, then try again"
)


def requirements(name: str) -> Path:
    """The hash lock of an environment. Raises InstallError if there is none."""
    path = locks.PYTHON / f"{name}.txt"
    if not path.exists():
        raise InstallError("environment.unknown", f"there is no lock {path}", hint="scripts/lock-python")
    return path


def digest(name: str) -> str:
    """Address of an environment in the cache: its lock and how it is built."""
    return address([requirements(name).read_bytes(), _RECIPE])


def pip_index(files: tuple[Path, ...], environment: Mapping[str, str]) -> str | None:
    """The package index that pip is told to use, None if it uses its default."""
    if environment.get("PIP_INDEX_URL"):
        return environment["PIP_INDEX_URL"]
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(files)
    for section in ("install", "global"):
        if parser.has_option(section, "index-url"):
            return parser.get(section, "index-url")
    return None


def _uv_settings(cache: Path) -> dict[str, str]:
    """Environment of uv: its own configuration if there is one, else pip's index; the machine's certificates."""
    settings = {"UV_CACHE_DIR": str(cache / "uv"), "UV_NATIVE_TLS": "1", "UV_PYTHON_DOWNLOADS": "never"}
    configuration = (Path("/etc/uv/uv.toml"), Path.home() / ".config/uv/uv.toml")
    configured = {"UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_CONFIG_FILE"} & os.environ.keys()
    if not configured and not any(path.exists() for path in configuration):
        files = (Path("/etc/pip.conf"), Path.home() / ".pip/pip.conf", Path.home() / ".config/pip/pip.conf")
        index = pip_index(files, os.environ)
        if index:
            settings["UV_DEFAULT_INDEX"] = index
    return settings


def build_tools(folder: Path) -> None:
    """The tools environment (uv, hatchling) with nothing but Debian's venv and pip."""
    run(
        [PYTHON, "-m", "venv", folder], "making the tools environment", hint="the Debian package python3-venv is needed"
    )
    python = folder / "bin" / "python"
    _checked(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes",
         "--only-binary=:all:", "-r", requirements("tools")],
        "installing the tools environment", {},
    )  # fmt: skip


def build(name: str, folder: Path, uv: Path, cache: Path) -> None:
    """Fill ``folder`` with an environment. Raises RefusedFileError naming the package whose file is not in the lock."""
    settings = _uv_settings(cache)
    run([uv, "venv", "--quiet", "--relocatable", "--allow-existing", "--python", PYTHON, folder],
        f"making the {name} environment", environment=settings)  # fmt: skip
    _checked(
        [uv, "pip", "install", "--quiet", "--python", folder / "bin" / "python", "--no-deps", "--require-hashes",
         "--compile-bytecode", "-r", requirements(name)],
        f"installing the {name} environment", settings,
    )  # fmt: skip


def unpack(lock: str, target: Path, uv: Path, cache: Path) -> None:
    """Unpack the wheels of a hash lock into ``target``, without their dependencies."""
    _checked(
        [uv, "pip", "install", "--quiet", "--python", PYTHON, "--target", target, "--no-deps", "--require-hashes",
         "-r", requirements(lock)],
        f"unpacking the wheels of {lock}", _uv_settings(cache),
    )  # fmt: skip


def _checked(command: list[str | Path], what: str, environment: dict[str, str]) -> None:
    """Run an installer and tell a refused file from any other failure."""
    try:
        run(command, what, environment=environment, hint=_HINT, code="pypi.failed")
    except InstallError as error:
        if "hash mismatch" in error.message.lower() or "do not match the hashes" in error.message.lower():
            raise RefusedFileError(
                "lock.refused", error.message, context=error.context,
                hint="if the index is right and the lock is old, run scripts/lock-python; never skip the check",
            ) from error  # fmt: skip
        raise
