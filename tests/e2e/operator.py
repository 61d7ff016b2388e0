"""The operator's side of an end-to-end test: the `appliance` command, as a person or a program runs it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any


def run(*arguments: str, timeout: float = 600, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run `appliance ARGUMENTS…` of the appliance that APPLIANCE_HOME names."""
    command = Path(os.environ["APPLIANCE_HOME"]) / "bin" / "appliance"
    done = subprocess.run([command, *arguments], capture_output=True, text=True, timeout=timeout, check=False)
    if check and done.returncode:
        raise AssertionError(f"appliance {' '.join(arguments)}: rc {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def answer(*arguments: str, timeout: float = 600) -> Any:
    """The JSON that `appliance ARGUMENTS… --json` prints, whatever its exit status."""
    return json.loads(run(*arguments, "--json", timeout=timeout, check=False).stdout)


def statuses() -> dict[str, dict[str, Any]]:
    """Name → what `appliance status --json` says of the part."""
    said = answer("status")
    return {part["name"]: part for part in (said["parts"] if isinstance(said, dict) else said)}


def wait_all_ready(timeout: float) -> float:
    """Wait until every part is ready; returns seconds waited. Fails naming those that are not."""
    began = time.monotonic()
    while True:
        waiting = {name: part["detail"] for name, part in statuses().items() if not part["ready"]}
        waited = time.monotonic() - began
        if not waiting:
            return waited
        assert waited < timeout, f"not ready after {timeout} s: {waiting}"
        time.sleep(1)
