"""A queue on disk: entries are appended to segments, read again in their order, and forgotten once they are done.

Frame: length (4 bytes), CRC-32 of the content (4 bytes), content. An entry whose frame is not whole was being written
when the process ended: nobody has been told of it, and it is left out. ``done`` holds segment and offset up to which
everything is done; what it lacks after a crash is read, and done, again.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_FRAME = struct.Struct("<II")
_PLACE = struct.Struct("<QQ")
_SEGMENT_BYTES = 16 * 2**20
_READ_BYTES = 1 << 17


@dataclass(frozen=True, order=True)
class Place:
    """A segment's number and an offset in it, bytes."""

    segment: int
    offset: int


class SpoolFullError(Exception):
    """The spool holds as much as it may."""


class Spool:
    """folder: its own. most_bytes: it holds at most about so many. Any thread may append, one thread reads and is done.

    Raises OSError when the disk does not take what is appended; then nothing of it counts.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder, self._most = folder, most_bytes
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._done_file = os.open(folder / "done", os.O_RDWR | os.O_CREAT, 0o600)
        self.done = self._read_done()
        segments = self._segments()
        self.done = max(self.done, Place(segments[0], 0)) if segments else Place(self.done.segment + 1, 0)
        self._sizes = {number: self._path(number).stat().st_size for number in segments if number >= self.done.segment}
        for number in set(segments) - self._sizes.keys():
            self._path(number).unlink()
        self._open(max([self.done.segment, *segments]) + 1)

    def _path(self, segment: int) -> Path:
        return self._folder / f"{segment:012d}.log"

    def _segments(self) -> list[int]:
        return sorted(int(path.stem) for path in self._folder.glob("[0-9]*.log"))

    def _read_done(self) -> Place:
        raw = os.pread(self._done_file, _PLACE.size, 0)
        return Place(*_PLACE.unpack(raw)) if len(raw) == _PLACE.size else Place(0, 0)

    def _open(self, segment: int) -> None:
        self._file = os.open(self._path(segment), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._end = Place(segment, 0)
        self._sizes[segment] = 0

    @property
    def end(self) -> Place:
        return self._end

    @property
    def waiting_bytes(self) -> int:
        """What has not been done yet."""
        return sum(self._sizes.values()) - self.done.offset

    def append(self, entries: Sequence[bytes], *, sync: bool = False) -> None:
        """Write entries behind the others, in one piece. sync: return once they are on the disk itself.

        Without it they outlive this process, but not the machine's power. Raises SpoolFullError and OSError.
        """
        frames = b"".join(part for entry in entries for part in (_FRAME.pack(len(entry), zlib.crc32(entry)), entry))
        with self._lock:
            if self.waiting_bytes + len(frames) > self._most:
                raise SpoolFullError
            if self._end.offset >= _SEGMENT_BYTES:
                os.fdatasync(self._file)
                os.close(self._file)
                self._open(self._end.segment + 1)
            self._write(frames)
            if sync:
                os.fdatasync(self._file)
            self._sizes[self._end.segment] += len(frames)
            self._end = Place(self._end.segment, self._end.offset + len(frames))

    def _write(self, frames: bytes) -> None:
        try:
            written = 0
            while written < len(frames):
                written += os.write(self._file, frames[written:])
        except OSError:
            os.ftruncate(self._file, self._end.offset)
            raise

    def sync(self) -> None:
        """Return once everything appended is on the disk itself."""
        with self._lock:
            os.fdatasync(self._file)

    def read(self, begin: Place) -> Iterator[tuple[bytes, Place]]:
        """The entries from ``begin``, each with the place behind it, up to what is there now."""
        with self._lock:
            end, segments = self._end, sorted(number for number in self._sizes if number >= begin.segment)
        place = begin
        for segment in segments:
            begins = place.offset if segment == place.segment else 0
            for entry, behind in self._entries(segment, begins, end.offset if segment == end.segment else None):
                place = Place(segment, behind)
                yield entry, place

    def _entries(self, segment: int, offset: int, until: int | None) -> Iterator[tuple[bytes, int]]:
        with self._path(segment).open("rb", buffering=_READ_BYTES) as file:
            file.seek(offset)
            while until is None or offset < until:
                head = file.read(_FRAME.size)
                if len(head) < _FRAME.size:
                    return
                length, checksum = _FRAME.unpack(head)
                entry = file.read(length)
                if len(entry) < length or zlib.crc32(entry) != checksum:
                    return
                offset += _FRAME.size + length
                yield entry, offset

    def finish(self, place: Place) -> None:
        """Everything before ``place`` is done; segments that are done are removed."""
        os.pwrite(self._done_file, _PLACE.pack(place.segment, place.offset), 0)
        with self._lock:
            self.done = place
            if place == self._end and place.offset >= _SEGMENT_BYTES // 4:
                os.close(self._file)
                self._open(place.segment + 1)
                self.done = Place(place.segment + 1, 0)
            gone = [number for number in self._sizes if number < self.done.segment]
            for number in gone:
                del self._sizes[number]
        for number in gone:
            self._path(number).unlink(missing_ok=True)

    def close(self) -> None:
        """Put everything on the disk and end. What is not done is read again by the next one."""
        with self._lock:
            os.fdatasync(self._file)
            os.close(self._file)
            os.close(self._done_file)
