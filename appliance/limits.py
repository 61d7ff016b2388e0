"""How large a record may be, from the captured row to the stores: one number, which every part on the way is given."""

from __future__ import annotations

RECORD_BYTES = 16 * 2**20
"""The largest record of every topic but dead letters: a captured row with both its images, as JSON."""

TEXT_CHARS = 1_000_000
"""Characters of a captured text; Debezium cuts off what follows, so that no text stops the capture of everything.

Every reader (Flink, lake, scorer) sees the same text. Sixteen such texts in one row, or a binary value of 8 MiB, still
come up to ``RECORD_BYTES``; above it the connector stops and says so.
"""

DEAD_LETTER_BYTES = 24 * 2**20
"""A dead letter holds its record in base64, which makes 4 bytes of 3."""

FRAME_MIB = 32
"""The largest call to HBase's Thrift server. Its own default is 2: a larger batch then ends the connection."""
