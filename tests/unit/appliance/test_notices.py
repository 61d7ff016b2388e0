"""What an operator must know although every part works."""

from __future__ import annotations

from pathlib import Path

from appliance import notices
from appliance.layout import Layout


def test_a_notice_stays_until_it_is_taken_back(tmp_path: Path) -> None:
    layout = Layout.below(tmp_path)
    assert notices.read(layout) == []
    notices.take_back(layout, "parity-s")
    notices.post(layout, "parity-s", "3 values differ", hint="appliance parity show v")
    (first,) = notices.read(layout)
    notices.post(layout, "parity-s", "4 values differ")
    (second,) = notices.read(layout)
    assert (second.sentence, second.since) == ("4 values differ", first.since)
    assert notices.text([first]).endswith("3 values differ\n  try: appliance parity show v\n")
    notices.take_back(layout, "parity-s")
    assert notices.read(layout) == []
    assert notices.text([]) == ""
