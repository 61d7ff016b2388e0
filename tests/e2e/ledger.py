"""What the ledger in the lake holds, read as an auditor would: from the Delta table's own files."""

from __future__ import annotations

import time
from collections import Counter

from deltalake import DeltaTable

from appliance.parts.base import Context


def cdc_scores(context: Context, service: str = "card_fraud") -> Counter[str]:
    """Event key → number of ledger rows that CDC scoring wrote for it."""
    table = DeltaTable(str(context.layout.lake / context.names.lake_ledger(service)))
    rows = table.to_pyarrow_table(columns=["event_key", "way"]).to_pylist()
    return Counter(str(row["event_key"]) for row in rows if row["way"] == "cdc")


def wait_for(context: Context, keys: list[int], timeout: float) -> Counter[str]:
    """The counts once every key is there, or when the time is up."""
    began = time.monotonic()
    wanted = {str(key) for key in keys}
    while True:
        counts = cdc_scores(context)
        if wanted <= counts.keys() or time.monotonic() - began > timeout:
            return counts
        time.sleep(2)
