"""The plain functions that a plan names as ``module:name``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from appliance.errors import PartError


def load(name: str) -> Callable[..., Any]:
    """The function ``module:name``. Raises PartError when there is none."""
    module, _, attribute = name.partition(":")
    try:
        function: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise PartError(
            "plan.no_function", f"the plan names {name!r}, which cannot be loaded: {error}",
            hint="appliance features apply",
        ) from error  # fmt: skip
    return function
