"""``appliance sample load | replay | stop | status``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance import context as contexts
from appliance.parts.base import Context
from stream_jobs.sample import clock, database, load, session, state
from stream_jobs.sample.replay import Pace, Progress, find_position, open_log

_TELL_SECONDS = 2.0


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    sample = subparsers.add_parser("sample", help="sample data in the sample business database")
    verbs = sample.add_subparsers(dest="sample_verb", metavar="VERB", required=True)

    loading = verbs.add_parser("load", help="create the tables, load the history, keep the rest for replay")
    loading.add_argument("--profile", default="default", help="size of the generated data: default or small")
    loading.add_argument("--file", type=Path, metavar="FILE.parquet", help="payments of your own instead")
    loading.add_argument("--until", type=_time, metavar="DATETIME", help="end of the history (2 days before the end)")
    loading.add_argument("--force", action="store_true", help="empty the tables first when they hold other rows")
    _json(loading, _load)

    replaying = verbs.add_parser("replay", help="commit what is to come, in the order of time")
    pace = replaying.add_mutually_exclusive_group()
    pace.add_argument("--rate", type=_positive, metavar="ROWS_PER_S", help="so many rows a second (20)")
    pace.add_argument("--speed", type=_positive, metavar="X", help="X seconds of event time in each second")
    pace.add_argument("--fast", action="store_true", help="as fast as the database commits")
    replaying.add_argument("--rows", type=_count, metavar="N", help="stop after N rows")
    replaying.add_argument("--until", type=_time, metavar="DATETIME", help="stop before this event time")
    replaying.add_argument("--batch", type=_count, default=1, metavar="N", help="rows in one transaction (1)")
    replaying.add_argument("--background", action="store_true", help="go on after this command has returned")
    _json(replaying, _replay)

    stopping = verbs.add_parser("stop", help="stop the replay; the clock is held at its last row")
    stopping.add_argument("--wall-clock", action="store_true", help="give the appliance clock back to the wall clock")
    _json(stopping, _stop)

    _json(verbs.add_parser("status", help="what is loaded and how far the replay is"), _status)


def _json(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int]) -> None:
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    parser.set_defaults(run=run)


def _time(text: str) -> int:
    """A date or time as µs UTC; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 2026-06-28 or 2026-06-28T12:00:00Z") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1_000_000)


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number above 0")
    return number


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1 on")
    return number


def _shown(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat(sep=" ", timespec="seconds")


def _load(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    began = time.monotonic()
    with session.alone(context):
        done = load.load(
            context, profile=arguments.profile, file=arguments.file, until_us=arguments.until, force=arguments.force
        )
    answer = _answer(done.state, 0) | {"changed": done.changed, "seconds": round(time.monotonic() - began, 2)}
    history = ", ".join(f"{stream.history} {stream.table}" for stream in done.state.streams)
    verb = "loaded" if done.changed else "nothing to do, already loaded:"
    _print(
        arguments,
        answer,
        f"{verb} {done.state.origin}: {history} before {_shown(done.state.until_us)}; "
        f"{done.state.remaining} rows are left to replay",
    )
    return 0


def _replay(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    if arguments.background:
        pid = session.detach(context, _words(arguments))
        _print(arguments, {"pid": pid}, f"replaying in the background (process {pid}); appliance sample stop ends it")
        return 0
    pace = Pace(None, arguments.speed) if arguments.speed else Pace(None if arguments.fast else arguments.rate or 20.0)
    teller = _Teller(quiet=arguments.json)
    began = time.monotonic()
    done = session.replay(
        context, pace, batch=arguments.batch, rows=arguments.rows, until_us=arguments.until, tell=teller
    )
    seconds = time.monotonic() - began
    answer = {
        "committed": done.committed,
        "position": done.position,
        "remaining": done.total - done.position,
        "event_time_us": done.event_us,
        "seconds": round(seconds, 3),
    }
    _print(
        arguments,
        answer,
        f"{done.committed} rows committed in {seconds:.1f} s; {answer['remaining']} are left; "
        f"the clock is held at {_shown(done.event_us)}",
    )
    return 0


def _words(arguments: argparse.Namespace) -> list[str]:
    """The command line again, for the process in the background."""
    words = ["--batch", str(arguments.batch)] + (["--fast"] if arguments.fast else [])
    for option in ("rate", "speed", "rows"):
        value = getattr(arguments, option)
        words += [f"--{option}", str(value)] if value is not None else []
    if arguments.until is not None:
        words += ["--until", datetime.fromtimestamp(arguments.until / 1e6, UTC).isoformat()]
    return words


class _Teller:
    """Says now and then how far the replay is."""

    def __init__(self, quiet: bool) -> None:
        self._quiet, self._told = quiet, time.monotonic()

    def __call__(self, progress: Progress) -> None:
        if self._quiet or time.monotonic() - self._told < _TELL_SECONDS:
            return
        self._told = time.monotonic()
        sys.stderr.write(f"{progress.position} of {progress.total} rows, {_shown(progress.event_us)}\n")
        sys.stderr.flush()


def _stop(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    pid = session.end(context)
    if arguments.wall_clock:
        clock.hold(context, None)
    _print(arguments, {"stopped": pid}, f"stopped process {pid}" if pid else "no replay is under way")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    loaded = state.read(context)
    if loaded is None:
        _print(arguments, {"loaded": False, "replaying": None}, "nothing is loaded")
        return 0
    position, pid = _position(context, loaded), session.running(context)
    _print(
        arguments,
        _answer(loaded, position) | {"replaying": pid},
        f"{loaded.origin}, history before {_shown(loaded.until_us)}; {position} of {loaded.remaining} rows replayed; "
        + (f"replaying (process {pid})" if pid else "no replay is under way"),
    )
    return 0


def _position(context: Context, loaded: state.State) -> int:
    """Events committed, as the database says."""
    with database.connect(context) as connection:
        writer = database.Writer(connection, [stream.table for stream in loaded.streams], [[]] * len(loaded.streams))
        return find_position(context, loaded, open_log(context, loaded), writer)


def _answer(loaded: state.State, position: int) -> dict[str, Any]:
    return {
        "loaded": True,
        "origin": loaded.origin,
        "until_us": loaded.until_us,
        "history": {stream.table: stream.history for stream in loaded.streams},
        "position": position,
        "remaining": loaded.remaining - position,
    }


def _print(arguments: argparse.Namespace, answer: dict[str, Any], text: str) -> None:
    sys.stdout.write((json.dumps(answer) if arguments.json else text) + "\n")
