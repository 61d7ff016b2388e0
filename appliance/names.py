"""Every name that crosses a process border carries the tenant; all of them are made here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Names:
    """Names of topics, keys, tables and indexes of one tenant."""

    tenant: str

    def cdc_prefix(self, source: str) -> str:
        return f"{self.tenant}.cdc.{source}"

    def cdc(self, source: str, table: str) -> str:
        """Topic of a captured table; ``table`` is ``schema.table``."""
        return f"{self.cdc_prefix(source)}.{table}"

    def heartbeat_prefix(self) -> str:
        """Debezium's ``topic.heartbeat.prefix``: not below ``cdc``, so that no reader of captured tables sees it."""
        return f"{self.tenant}.connect.heartbeat"

    def heartbeat(self, source: str) -> str:
        """Debezium's heartbeat topic of a source; the connector stands still if it does not exist."""
        return f"{self.heartbeat_prefix()}.{self.cdc_prefix(source)}"

    def schema_history(self, source: str) -> str:
        """Topic in which a connector that reads a binary log keeps the definitions of its tables; also its group."""
        return f"{self.tenant}.connect.schema-history.{source}"

    def notifications(self, source: str) -> str:
        """Topic of what Debezium says of a source's snapshots."""
        return f"{self.tenant}.connect.notifications.{source}"

    def edits(self, view: str, version: int) -> str:
        return f"{self.tenant}.edits.{view}.v{version}"

    def requests(self, service: str) -> str:
        return f"{self.tenant}.requests.{service}"

    def predictions(self, service: str) -> str:
        return f"{self.tenant}.predictions.{service}"

    def feedback(self, service: str) -> str:
        return f"{self.tenant}.feedback.{service}"

    def shadow(self, service: str) -> str:
        """Topic of the scores of versions that decide nothing."""
        return f"{self.tenant}.shadow.{service}"

    def alerts(self) -> str:
        return f"{self.tenant}.alerts"

    def dead_letters(self, reader: str) -> str:
        return f"{self.tenant}.dead-letters.{reader}"

    def redis_edits(self, view: str, version: int, entity: str) -> str:
        """Redis key of an entity's packed recent edits."""
        return f"{self.tenant}:edits:{view}.v{version}:{entity}"

    def redis_tile(self, view: str, version: int, entity: str, generation: int, tile: int) -> str:
        """Redis key of a tile of a dense entity's rows."""
        return f"{self.tenant}:tiles:{view}.v{version}:{generation:016x}:{tile}:{entity}"

    def redis_tiles_pattern(self, view: str) -> str:
        """Glob pattern of the tiles of every entity and version of a view."""
        return f"{self.tenant}:tiles:{view}.v[0-9]*:*"

    def redis_edits_pattern(self, view: str) -> str:
        """Glob pattern of the keys of every entity and version of a view."""
        return f"{self.tenant}:edits:{view}.v[0-9]*:*"

    def redis_reached_pattern(self, view: str) -> str:
        """Glob pattern of the positions reached by every version of a view."""
        return f"{self.tenant}:reached:{view}.v[0-9]*"

    def edits_prefix(self, view: str) -> str:
        """What the edits topics of every version of a view begin with."""
        return f"{self.tenant}.edits.{view}.v"

    def redis_reached(self, view: str, version: int) -> str:
        """Redis key of the position a view has reached online."""
        return f"{self.tenant}:reached:{view}.v{version}"

    def hbase_progress(self) -> str:
        """Redis key of how far ``writer-hbase`` is."""
        return f"{self.tenant}:writer-hbase:progress"

    def redis_rebuild_lease(self, rebuild: str) -> str:
        """Redis key that lives while a rebuild does."""
        return f"{self.tenant}:rebuild:lease:{rebuild}"

    def redis_rebuild_tail(self, rebuild: str, entity: str) -> str:
        """Redis key of an entity's edits that have come since a rebuild began."""
        return f"{self.tenant}:rebuild:tail:{rebuild}:{entity}"

    def redis_alive(self, process: str) -> str:
        """Redis key that says a process of ours has lately done a real unit of work."""
        return f"{self.tenant}:alive:{process}"

    def redis_clock(self) -> str:
        return f"{self.tenant}:clock"

    def hbase_table(self, view: str, version: int) -> str:
        return f"{self.tenant}:{view}_v{version}"

    def lake_changes(self, source: str, table: str) -> str:
        """Lake folder, relative to the lake, of the change table of ``schema.table``."""
        return f"{self.tenant}/changes/{source}.{table}"

    def lake_state(self, source: str, table: str) -> str:
        return f"{self.tenant}/state/{source}.{table}"

    def lake_ledger(self, service: str) -> str:
        return f"{self.tenant}/ledger/{service}"

    def lake_feedback(self, service: str) -> str:
        return f"{self.tenant}/feedback/{service}"

    def lake_shadow(self, service: str) -> str:
        return f"{self.tenant}/shadow/{service}"

    def lake_scores(self, batch: str) -> str:
        """Lake folder of the results of a batch."""
        return f"{self.tenant}/scores/{batch}"

    def lake_rejects(self, batch: str) -> str:
        """Lake folder of the rows of a batch that could not be scored."""
        return f"{self.tenant}/rejects/{batch}"

    def alert_index(self, service: str) -> str:
        """OpenSearch alias of a service's alerts; the indexes behind it add ``-YYYY.MM``."""
        return f"{self.tenant}-alerts-{service}"
