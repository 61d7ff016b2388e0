"""Errors of the stream room."""

from __future__ import annotations

from appliance.errors import ApplianceError


class EditError(ApplianceError):
    """An edit or a row in hand does not fit its view (wrong type, too many digits, out of range)."""


class WindowError(ApplianceError):
    """A feature cannot be computed by the window algebra (function and column type do not fit)."""


class PackedError(ApplianceError):
    """Packed bytes in the online store are not in the layout of their view."""


class CutTooOldError(ApplianceError):
    """The online store no longer holds what a read at this cut or as-of time needs, and no history store was given."""


class OnlineStoreError(ApplianceError):
    """The online store was asked for something that it does not do."""


class LakeError(ApplianceError):
    """A lake table cannot be read or written."""


class BrokenRecordError(ApplianceError):
    """A record of a topic cannot be used; it goes to the dead-letter topic with this error."""


class OfflineStoreError(ApplianceError):
    """The offline store was asked for something that it does not do, or with a frame that does not fit."""


class CompileError(ApplianceError):
    """A definition cannot be computed exactly, or contradicts itself; the hint says what to change."""


class VersionError(ApplianceError):
    """A version of a view or service cannot be put into effect, switched to or gone back to."""


class FlinkJobError(ApplianceError):
    """A Flink job cannot be submitted or kept running."""


class SampleError(ApplianceError):
    """Sample data cannot be loaded or replayed."""


class SourceError(ApplianceError):
    """A business database cannot be captured as it is; the hint says what its administrator must do."""


class WritebackError(ApplianceError):
    """Predictions cannot be written into a business database's table; the hint says what its administrator must do."""


class RebuildError(ApplianceError):
    """A store cannot be filled again from the lake; the hint says what is in the way."""


class ParityError(ApplianceError):
    """The values served cannot be compared, or a certificate is not what was written."""
