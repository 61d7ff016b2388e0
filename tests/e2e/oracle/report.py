"""The result of an oracle run as JSON and as Markdown."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tests.e2e.oracle.run import Result


def write(result: Result, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "oracle.json").write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1))
    (folder / "oracle.md").write_text(markdown(result))


def markdown(result: Result) -> str:
    total = sum(result.changes.values())
    lines = [
        "# Oracle run",
        "",
        f"{total:,} changes ({', '.join(f'{count:,} of {table}' for table, count in result.changes.items())}) in "
        f"{result.transactions:,} transactions, {result.rolled_back:,} more rolled back; {result.seconds:,} s, "
        f"{result.changes_per_second:,} changes/s while parts were killed and probes asked. "
        f"**{result.different} values different.**",
        "",
        "| compared with the oracle | vectors | values | different |",
        "|---|---|---|---|",
        *(f"| {each.what} | {each.vectors:,} | {each.values:,} | {each.different:,} |" for each in result.compared),
        "",
        f"Calls of probes that a killed store refused (asked again): {result.probes_refused}. After the last change "
        f"until every edit was there: {', '.join(f'{store} {s} s' for store, s in result.settled_seconds.items())}.",
    ]
    if result.kills:
        lines += [
            "",
            "| kill -9 | after changes | ready again, s | a commit made after it was servable, s |",
            "|---|---|---|---|",
            *(f"| {k.part} | {k.at_change:,} | {k.ready_seconds} | {k.fresh_seconds} |" for k in result.kills),
        ]
    if result.explained is not None:
        told = msgspec.json.format(msgspec.json.encode(result.explained), indent=1).decode()
        lines += ["", "## The first difference", "", "```json", told, "```"]
    return "\n".join(lines) + "\n"
