"""Logs of our own processes: one JSON object a line on stderr, which supervisord writes to ``logs/<process>.log``."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from appliance.errors import ApplianceError

_PLAIN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """``{"at", "level", "process", "logger", "message", …}``; what is given as ``extra`` stands beside it."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """One line. An ApplianceError's code, context and hint become fields; other errors bring their trace."""
        event: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        event |= {key: value for key, value in record.__dict__.items() if key not in _PLAIN}
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, ApplianceError):
            event |= {"code": error.code, "error": error.message, "context": error.context, "hint": error.hint}
        elif record.exc_info and error is not None:
            event |= {"error": repr(error), "trace": self.formatException(record.exc_info)}
        return json.dumps(event, default=str, ensure_ascii=False)


def setup(process: str, level: int = logging.INFO) -> logging.Logger:
    """Make every logger of this process write JSON lines to stderr; returns the process's own logger."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(process))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for chatty in ("httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return logging.getLogger(process)
