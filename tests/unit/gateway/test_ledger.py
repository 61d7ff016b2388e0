"""What an answered request leaves behind reaches Kafka and Redis, whatever is away meanwhile, and is told once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from confluent_kafka import KafkaError

from gateway.errors import PartDownError
from gateway.ledger.ledger import Entry, Ledger
from gateway.ledger.spool import Spool


class Broker:
    """What producers made one after the other have brought; takes nothing while ``away``; ``refuses`` so many."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes, bytes]] = []
        self.away, self.refuses = False, 0

    def producer(self) -> Any:
        return _Producer(self)


class _Producer:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._queue: list[tuple[tuple[str, bytes, bytes], Callable[[Any, Any], None]]] = []

    def produce(self, topic: str, value: bytes, key: bytes, on_delivery: Callable[[Any, Any], None]) -> None:
        self._queue.append(((topic, key, value), on_delivery))

    def poll(self, seconds: float) -> None:
        while self._queue and not self._broker.away:
            record, told = self._queue.pop(0)
            if self._broker.refuses:
                self._broker.refuses -= 1
                told(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART), None)
            else:
                self._broker.records.append(record)
                told(None, None)

    def purge(self) -> None:
        self._queue.clear()

    def flush(self, seconds: float) -> None:
        self.poll(0)


class Store:
    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.away = False

    def pipeline(self, transaction: bool) -> Store:
        self._asked: list[tuple[str, bytes]] = []
        return self

    def set(self, key: str, value: bytes, ex: int) -> None:
        self._asked.append((key, value))

    def execute(self) -> None:
        if self.away:
            raise redis.ConnectionError("away")
        self.values.update(self._asked)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[Broker, Store, Callable[..., Ledger]]]:
    broker, store, made = Broker(), Store(), list[Ledger]()

    def ledger(most_bytes: int = 1 << 20) -> Ledger:
        made.append(Ledger(Spool(tmp_path, most_bytes), broker.producer, store, 60))
        return made[-1]

    yield broker, store, ledger
    broker.away = store.away = False
    for one in made:
        one._stop.set()


def _entry(number: int, memory: bool = False) -> Entry:
    value = b"%d" % number
    return Entry([("predictions", b"k", value)], (f"id{number}", value) if memory else None)


def _until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _numbers(broker: Broker) -> list[int]:
    return [int(value) for _, _, value in broker.records]


def test_in_their_order_and_once(world: Any) -> None:
    broker, store, make = world
    ledger = make()
    for number in range(100):
        ledger.write([_entry(number, memory=True)])
    _until(lambda: ledger.waiting_bytes == 0)
    assert _numbers(broker) == list(range(100)) and len(store.values) == 100
    assert ledger.remembered("id7") is None


def test_what_waits_is_remembered_and_comes_when_kafka_is_back(world: Any) -> None:
    broker, store, make = world
    broker.away = store.away = True
    ledger = make()
    ledger.write([_entry(1, memory=True)])
    time.sleep(0.1)
    assert ledger.remembered("id1") == b"1" and ledger.waiting_bytes > 0
    broker.away = store.away = False
    _until(lambda: ledger.waiting_bytes == 0)
    assert _numbers(broker) == [1] and store.values == {"id1": b"1"}


def test_a_killed_process_leaves_it_to_the_next_one(world: Any) -> None:
    broker, store, make = world
    broker.away = True
    killed = make()
    killed.write([_entry(1), _entry(2, memory=True)])
    killed._stop.set()
    killed._thread.join()
    broker.away = False
    ledger = make()
    _until(lambda: ledger.waiting_bytes == 0)
    assert _numbers(broker) == [1, 2] and store.values == {"id2": b"2"}


def test_the_memory_of_a_killed_process_is_there_before_redis_has_it(world: Any) -> None:
    broker, store, make = world
    broker.away = store.away = True
    killed = make()
    killed.write([_entry(2, memory=True)])
    killed._stop.set()
    killed._thread.join()
    assert make().remembered("id2") == b"2"


def test_what_kafka_refuses_is_sent_again(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.ledger.ledger._AGAIN_SECONDS", 0.05)
    broker, _, make = world
    broker.refuses = 1
    ledger = make()
    ledger.write([_entry(1), _entry(2)])
    _until(lambda: ledger.waiting_bytes == 0)
    assert set(_numbers(broker)) == {1, 2}


def test_without_room_nobody_is_told_that_it_is_safe(world: Any) -> None:
    broker, _, make = world
    broker.away = True
    ledger = make(most_bytes=60)
    ledger.write([_entry(1)])
    with pytest.raises(PartDownError, match="no room"):
        ledger.write([Entry([("t", b"k", b"x" * 60)], ("id", b"x"))])
    assert ledger.remembered("id") is None


def test_closing_sends_what_is_still_there(world: Any) -> None:
    broker, _, make = world
    ledger = make()
    ledger.write([_entry(number) for number in range(50)])
    ledger.close()
    assert _numbers(broker) == list(range(50))
