"""After `down` nothing of ours runs; after `up` everything goes on where it was."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from appliance.parts.base import Context
from tests.e2e import business, ledger, operator

pytestmark = pytest.mark.e2e


def processes_below(home: Path) -> dict[int, str]:
    """pid → command line of every process that names the home folder, this test's own ancestors left out."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            environment = (folder / "environ").read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        ours = f"{home}/" in command or f"{home}/run" in environment
        if ours and "pytest" not in command and "./test" not in command:
            found[int(folder.name)] = command
    return found


def test_down_leaves_nothing_and_up_goes_on(live: Context) -> None:
    payments = business.Payments(live, seed=9)
    with business.committing(live, payments, 20) as committed:
        while len(committed) < 40:
            time.sleep(0.1)
    before = ledger.wait_for(live, committed, 120)
    assert all(before[str(key)] == 1 for key in committed)

    operator.run("down")
    home = live.layout.etc.parent
    assert processes_below(home) == {}
    operator.run("down")

    operator.run("up")
    operator.wait_all_ready(120)
    with business.committing(live, payments, 20) as later:
        while len(later) < 40:
            time.sleep(0.1)
    after = ledger.wait_for(live, later, 120)
    assert all(after[str(key)] == 1 for key in committed + later)
