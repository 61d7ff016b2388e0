"""Keys that Kafka's default partitioner sends to a wanted partition."""

from __future__ import annotations

_MULTIPLIER = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Kafka's 32-bit hash of a record key (``org.apache.kafka.common.utils.Utils.murmur2``), unsigned."""
    length = len(data)
    value = (0x9747B28C ^ length) & _MASK
    whole = length - length % 4
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * _MULTIPLIER & _MASK
        k = (k ^ (k >> 24)) * _MULTIPLIER & _MASK
        value = (value * _MULTIPLIER & _MASK) ^ k
    if rest := data[whole:]:
        value = (value ^ int.from_bytes(rest, "little")) * _MULTIPLIER & _MASK
    value = (value ^ (value >> 13)) * _MULTIPLIER & _MASK
    return value ^ (value >> 15)


def partition(key: bytes, partitions: int) -> int:
    """The partition of a record with this key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def keys(partitions: int) -> list[str]:
    """For each partition a key that lands in it."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < partitions:
        key = f"marker-{number}"
        found.setdefault(partition(key.encode(), partitions), key)
        number += 1
    return [found[each] for each in range(partitions)]
