"""A process that answers without pauses: what Python does now and then for all its objects is kept short."""

from __future__ import annotations

import gc
import sys

_SWITCH_SECONDS = 0.0002
_NEW_OBJECTS = 50_000


def settle() -> None:
    """To be called once everything is loaded.

    What is there now (libraries, the plan) is never looked through for garbage again, which took tens of ms each time;
    a thread that has work waits at most 0.2 ms for another one to let go, not 5, and a batch has to several times.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 20, 20)
    sys.setswitchinterval(_SWITCH_SECONDS)
