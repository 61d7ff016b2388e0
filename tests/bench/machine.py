"""What several benches need of an appliance: its commands, the CPU time of its processes; where a result goes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from appliance.parts.base import Context
from appliance.processes import tree
from appliance.supervisor import Supervisor

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(context: Context) -> dict[str, float]:
    """Part → CPU seconds of its process, of all below it, and of those below it that have ended."""
    return {name: _of_tree(state.pid) for name, state in Supervisor(context).states().items() if state.pid}


def _of_tree(pid: int) -> float:
    total = 0
    for member in tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            total += sum(int(field) for field in fields[11:15])
    return total / _TICKS


def machine_cpu_seconds() -> float:
    """CPU seconds that the whole machine has spent on anything but waiting."""
    user, nice, system, _, _, interrupts, soft, *_ = (
        int(field) for field in Path("/proc/stat").read_text().partition("\n")[0].split()[1:]
    )
    return (user + nice + system + interrupts + soft) / _TICKS


def cpu_table(before: Mapping[str, float], after: Mapping[str, float], changes: int, seconds: float) -> list[str]:
    """Markdown: each part's CPU seconds, its share of one core, and changes per CPU second; the busiest first."""
    spent = {name: after[name] - before[name] for name in after if name in before and after[name] > before[name]}
    lines = ["| process | CPU seconds | cores | changes per CPU second |", "|---|---|---|---|"]
    for name, used in sorted(spent.items(), key=lambda item: -item[1]):
        lines.append(f"| {name} | {used:.1f} | {used / seconds:.2f} | {changes / used:,.0f} |")
    total = sum(spent.values())
    if total:
        lines.append(f"| all | {total:.1f} | {total / seconds:.2f} | {changes / total:,.0f} |")
    return lines


def command(context: Context, *words: str, expected: tuple[int, ...] = (0,)) -> Any:
    """An appliance command's JSON answer."""
    done = subprocess.run(
        [str(context.layout.bin / "appliance"), *words, "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode in expected, done.stdout[-2_000:] + done.stderr[-2_000:]
    return json.loads(done.stdout)


def write(out: Path, name: str, result: dict[str, Any], markdown: str) -> None:
    """``NAME.json`` and ``NAME.md`` in ``out``, which is made if need be."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1))
    (out / f"{name}.md").write_text(markdown)
