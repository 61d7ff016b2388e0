"""A new Triton server takes the place of the running one under a load of predictions: none of them fails."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from appliance import golden
from appliance.clients.triton import TritonClient
from appliance.clients.triton_repository import TritonRepository
from appliance.parts import triton_server
from appliance.parts.base import Context
from appliance.parts.triton_server import State
from appliance.processes import lives
from appliance.supervisor import Supervisor
from tests.integration import gateway_api as api

pytestmark = pytest.mark.integration

_MODEL = "card_fraud"
_SLOW = ("request.timeout", "gateway.busy")


class _Load:
    """Calls again and again, in threads, until the end; every failure is kept."""

    def __init__(self, *calls: Callable[[], None]) -> None:
        self.done, self.failures, self._stop = [0] * len(calls), list[str](), threading.Event()
        self._threads = [threading.Thread(target=self._run, args=pair) for pair in enumerate(calls)]

    def _run(self, number: int, call: Callable[[], None]) -> None:
        while not self._stop.is_set():
            try:
                call()
            except Exception as error:  # noqa: BLE001 - whatever it is, a prediction has failed
                self.failures.append(repr(error)[:300])
            self.done[number] += 1

    def __enter__(self) -> _Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def _state(live: Context) -> State:
    return msgspec.json.decode(triton_server.state_file(live).read_bytes(), type=State)


def test_a_new_server_takes_over_and_no_prediction_fails(live: Context) -> None:
    before = _state(live)
    rows = golden.read(live.layout.model_repository / _MODEL)
    features = np.array(rows.inputs(), np.float32)
    payment = api.payment(live)
    with api.app_client(live) as client, TritonClient.of(live) as model:

        def predict() -> None:
            # A busy machine has failures of its own; Triton is given half of a request's time, so it is named before.
            answer = client.post(api.PREDICT, json={"rows": [payment | {"transaction_id": time.time_ns()}]})
            assert answer.status_code == 200 or answer.json()["code"] in _SLOW, answer.text

        def infer() -> None:
            scores, _ = model.infer(_MODEL, features)
            assert np.abs(scores - np.array(rows.scores)).max() <= rows.tolerance

        with _Load(predict, predict, infer, infer) as load:
            api.eventually(lambda: min(load.done) >= 20, 30)
            running = Supervisor(live).state("triton")
            assert running is not None
            os.kill(running.pid, signal.SIGHUP)
            api.eventually(lambda: _state(live).number > before.number, 60)
            taken_over = list(load.done)
            api.eventually(lambda: all(now - then >= 20 for now, then in zip(load.done, taken_over, strict=True)), 30)
    after = _state(live)
    assert load.failures == []
    assert not lives(before.pid) and lives(after.pid) and after.took_seconds > 0
    still = Supervisor(live).state("triton")
    assert still is not None and still.pid == running.pid
    golden.check(TritonRepository.of(live, server=f"triton-{after.number}"), rows)
