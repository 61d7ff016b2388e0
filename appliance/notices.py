"""What an operator must know although every part works: one small file each, until it is no longer so.

`appliance status` and the console show them. A process of any room posts one and takes it back.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from appliance.layout import Layout


class Notice(msgspec.Struct, frozen=True):
    """sentence: for a person, begins with a capital and has no full stop. since: Unix time, s. hint: what to do."""

    name: str
    sentence: str
    since: int
    hint: str = ""


def post(layout: Layout, name: str, sentence: str, hint: str = "") -> None:
    """Post or renew the notice ``name``; it keeps the time at which it was first posted."""
    known = {each.name: each for each in read(layout)}
    since = known[name].since if name in known else int(time.time())
    path = layout.notices / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_bytes(msgspec.json.encode(Notice(name, sentence, since, hint)))
    temporary.rename(path)


def take_back(layout: Layout, name: str) -> None:
    """It is no longer so, or never was."""
    (layout.notices / f"{name}.json").unlink(missing_ok=True)


def read(layout: Layout) -> list[Notice]:
    """The oldest first. Raises msgspec.MsgspecError for a file that is no notice."""
    found = [msgspec.json.decode(path.read_bytes(), type=Notice) for path in layout.notices.glob("*.json")]
    return sorted(found, key=lambda each: (each.since, each.name))


def text(posted: Sequence[Notice]) -> str:
    """For a person to read; empty if there are none."""
    lines = []
    for each in posted:
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(each.since))
        lines.append(f"notice since {since}: {each.sentence}\n")
        lines += [f"  try: {each.hint}\n"] if each.hint else []
    return "".join(lines)
