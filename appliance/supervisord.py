"""supervisord with a poll loop that lets go of descriptors nobody reads: ``python -m appliance.supervisord``.

supervisor 4.3.0 goes on asking for a descriptor that was closed if its number is used again before it looks. When that
is the pipe to a process's standard input, poll answers POLLERR at once, for ever, and supervisord takes a whole core
(Supervisor/supervisor issue 807; its remedy in 4.3.0 sees only what can be read).
"""

from __future__ import annotations

import select

from supervisor import poller, supervisord


class LettingGo(poller.PollPoller):  # type: ignore[misc]
    """What is in error and can be neither read nor written is let go; who wants it registers it in each round."""

    def _ignore_invalid(self, fd: int, eventmask: int) -> bool:
        if eventmask & select.POLLERR and not eventmask & (self.READ | self.WRITE):
            eventmask |= select.POLLNVAL
        return bool(super()._ignore_invalid(fd, eventmask))


def main() -> None:
    poller.Poller = LettingGo
    supervisord.main()


if __name__ == "__main__":
    main()
