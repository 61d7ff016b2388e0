"""Dense entities in a real Redis: the writer's sweep makes tiles while edits come and readers read."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis as redis_py

from stream_jobs.online import reached as reached_positions
from stream_jobs.online import sweep as sweeps
from stream_jobs.online.packed import is_dense
from stream_jobs.online.reached import Reached
from stream_jobs.online.reader import OnlineReader, RowInHand
from stream_jobs.online.sweep import Sweep
from tests import redis_server
from tests.unit.stream_jobs.online.test_dense import KEY, LAYOUT, NAMES, PLAN, REACHED, SERVICE, VIEW, long_log, packed

pytestmark = pytest.mark.integration


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Any]:
    """A Redis of the test's own."""
    with redis_server.running(tmp_path) as port, redis_py.Redis(port=port) as client:
        yield client


def sweep(redis: Any, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    """The writer's sweep, always at work; everything that is reached may go into tiles."""
    monkeypatch.setattr(sweeps, "_STEP_SECONDS", 0.0)
    monkeypatch.setattr(sweeps, "_SAMPLE_SECONDS", 0.0)
    state = SimpleNamespace(newest={VIEW.edits_topic: 10**6})
    log = SimpleNamespace(state=state, reached=lambda view: reached_positions.decode(redis.get(REACHED)))
    return Sweep(redis, NAMES, PLAN, log, fold_margin_seconds=0.0, dense_rows=500)  # type: ignore[arg-type]


@pytest.mark.timeout(120)
def test_reads_stay_exact_while_the_sweep_makes_tiles(redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every read gives the rows of the cut it says, whatever the writer and the sweep do meanwhile; none is torn."""
    log = long_log(6000)
    redis.set(KEY, packed(log[:1000]))
    redis.set(REACHED, reached_positions.encode(Reached(f"{1000:032x}", 0)))
    done, wrong, reads, generations = threading.Event(), list[object](), list[int](), set[bytes]()

    amounts = [float(edit.columns["amount"]) for edit in log]  # type: ignore[arg-type]

    def read(seed: int) -> None:
        reader, chance, cut = OnlineReader(redis, NAMES, PLAN), random.Random(seed), 1000
        while not done.is_set():
            at = chance.randrange(8, cut + 1)
            (vector,) = reader.vectors(SERVICE, [RowInHand(at, {"who": "a"})])
            cut = int(vector.cuts["v"], 16)
            found = [vector.features[f"v:{name}"].value for name in ("None_count_7_None", "amount_sum_7_None")]
            if found != [8, sum(amounts[at - 7 : at])]:
                wrong.append((at, cut, found))
            reads.append(at)

    readers = [threading.Thread(target=read, args=(seed,)) for seed in range(2)]
    for reader in readers:
        reader.start()
    sweeper = sweep(redis, monkeypatch)
    for begin in range(1000, 6000, 250):
        with redis.pipeline(transaction=True) as pipe:
            pipe.append(KEY, b"".join(map(LAYOUT.encode, log[begin : begin + 250])))
            pipe.set(REACHED, reached_positions.encode(Reached(f"{begin + 250:032x}", 0)))
            pipe.execute()
        sweeper.step()
        generations.add(redis.get(KEY)[40:48] if is_dense(redis.get(KEY)) else b"")
    done.set()
    for reader in readers:
        reader.join()
    assert not wrong
    assert len(reads) > 50
    assert len(generations) > 3
