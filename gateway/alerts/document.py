"""An alert as OpenSearch holds it, and how two scorings of one event become one document."""

from __future__ import annotations

from typing import Any

import msgspec

from appliance.names import Names
from appliance.records import Alert
from gateway.alerts import index
from gateway.alerts.explanation import Explanation

_MERGE = """
if (!ctx._source.prediction_ids.contains(params.d.prediction_id)) {
  List ids = ctx._source.prediction_ids;
  List ways = ctx._source.ways;
  ids.add(params.d.prediction_id);
  if (!ways.contains(params.d.ways[0])) { ways.add(params.d.ways[0]); }
  long before = ((Number) ctx._source.raised_at_us).longValue();
  long now = ((Number) params.d.raised_at_us).longValue();
  long raised = before < now ? before : now;
  if (now >= ((Number) ctx._source.scored_at_us).longValue()) { ctx._source.putAll(params.d); }
  ctx._source.prediction_ids = ids;
  ctx._source.ways = ways;
  ctx._source.raised_at_us = raised;
} else { ctx.op = 'none'; }
"""


def source(alert: Alert, explanation: Explanation) -> dict[str, Any]:
    """The document of an alert that nobody has seen before."""
    p = alert.prediction
    return {
        "alert_id": alert.alert_id,
        "service": p.service,
        "event_key": p.event_key,
        "as_of": p.as_of // 1000,
        "as_of_us": p.as_of,
        "raised_at_us": p.scored_at,
        "scored_at_us": p.scored_at,
        "committed_at_us": p.committed_at,
        "ways": [p.way],
        "prediction_ids": [p.prediction_id],
        "prediction_id": p.prediction_id,
        "score": p.score,
        "decision": p.decision,
        "kind": p.kind,
        "reason": p.reason,
        "model": p.model,
        "model_version": p.model_version,
        "row": p.row,
        "features": msgspec.to_builtins(p.features),
        "explanation": msgspec.to_builtins(explanation),
    }


def action(names: Names, alert: Alert, explanation: Explanation) -> dict[str, Any]:
    """The bulk action that files an alert: the first way makes the document, later ways are merged into it."""
    document = source(alert, explanation)
    return {
        "_op_type": "update",
        "_index": index.name(names, alert.prediction.service, alert.prediction.as_of),
        "_id": alert.alert_id,
        "retry_on_conflict": 3,
        "script": {"lang": "painless", "source": _MERGE, "params": {"d": document}},
        "upsert": document,
    }
