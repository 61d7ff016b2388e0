"""The poll loop of supervisord."""

from __future__ import annotations

import os
import select

from supervisor.poller import PollPoller

from appliance.supervisord import LettingGo


def _asked(kind: type[PollPoller]) -> list[tuple[int, int]]:
    """What poll still says of a number that was a readable pipe, and is now the writing end of one nobody reads."""
    reading, writing = os.pipe()
    loop = kind(None)
    loop.register_readable(writing)
    os.close(reading)
    try:
        assert loop.poll(0) == ([], [])
        found: list[tuple[int, int]] = loop._poll_fds(0)
        return found
    finally:
        os.close(writing)


def test_a_number_that_is_used_again_is_let_go() -> None:
    assert _asked(LettingGo) == []
    assert [mask for _, mask in _asked(PollPoller)] == [select.POLLERR], "supervisor has mended it: ours may go"


def test_what_can_be_read_is_read() -> None:
    reading, writing = os.pipe()
    loop = LettingGo(None)
    loop.register_readable(reading)
    os.write(writing, b"x")
    os.close(writing)
    assert loop.poll(0) == ([reading], [])
    os.read(reading, 1)
    assert loop.poll(0) == ([reading], []), "its end is told by POLLHUP"
    os.close(reading)
    assert loop.poll(0) == ([], [])
