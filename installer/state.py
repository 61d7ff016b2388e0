"""Which steps of a scenario are done: one small file, rewritten whole after each step."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from installer.errors import InstallError


@dataclass(frozen=True)
class State:
    """Steps done, by name, each with what it was done with. A step done with something else counts as not done."""

    path: Path

    def _read(self) -> dict[str, str]:
        if not self.path.exists():
            return {}
        try:
            content = json.loads(self.path.read_text())
        except json.JSONDecodeError as error:
            raise InstallError(
                "state.broken", f"{self.path} is not JSON: {error}",
                hint="move it away; every step can be done again",
            ) from error  # fmt: skip
        return dict(content["done"])

    def done(self, step: str, with_what: str = "") -> bool:
        return self._read().get(step) == with_what

    def record(self, step: str, with_what: str = "") -> None:
        """Remember that a step is done."""
        self._write({**self._read(), step: with_what})

    def forget(self, *steps: str) -> None:
        """Steps that must be done again."""
        self._write({name: value for name, value in self._read().items() if name not in steps})

    def _write(self, done: dict[str, str]) -> None:
        new = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        new.write_text(json.dumps({"done": done}, indent=1) + "\n")
        new.rename(self.path)
