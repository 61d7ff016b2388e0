"""How large a record may be, from the captured row to the stores: one number, which every part on the way is given."""

from __future__ import annotations

RECORD_BYTES = 16 * 2**20
"""The largest record of every topic but dead letters: a captured row with both its images, as JSON."""

DEAD_LETTER_BYTES = 24 * 2**20
"""A dead letter holds its record in base64, which makes 4 bytes of 3."""

FRAME_MIB = 32
"""The largest call to HBase's Thrift server. Its own default is 2: a larger batch then ends the connection."""
