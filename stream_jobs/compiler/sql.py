"""The Flink SQL script that turns a captured table's change log into a view's edits.

One chain of operators from source to sinks, without union or shuffle, so that a marker can never overtake a change of
its channel. A record is read as text, because Flink's own JSON formats end the job at a broken record or skip it in
silence; what cannot be used goes to the dead-letter topic. UNNEST turns one change into its -before and +after, and a
marker into one edit for each partition of the edits topic.

The script's statements are parted by blank lines; the last is the statement set that becomes the job.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from appliance import limits, position
from stream_jobs.compiler import casts, partitions
from stream_jobs.expressions import flink_sql
from stream_jobs.expressions.node import Node
from stream_jobs.plan import Column

_MARKER = 1000
"""Split number of the marker edit for partition 0; below it, -1 is before, 1 after, 0 no edit at all."""

_TRUNCATE = "change.truncate"
"""No edit and no dead letter: the process ``mender`` makes edits of it."""


def _hex(value: str, digits: int) -> str:
    """SQL text: the number in the text ``value`` as hex digits, null where it is none."""
    return f"LPAD(LOWER(HEX(TRY_CAST({value} AS BIGINT))), {digits}, '0')"


_BASE = "TRY_CAST(COALESCE(JSON_VALUE(`text`, '$.appliance_base'), '0') AS BIGINT)"
_FILE_NUMBER = f"REGEXP_EXTRACT(JSON_VALUE(origin, '$.file'), '{position.FILE_NUMBER}', 1)"
_STREAMED = ", ".join(f"'{each}'" for each in position.STREAMED)
_POSITION = f"""CASE
  WHEN sequence IS NULL THEN CONCAT(
    {_hex(f"TRY_CAST({_FILE_NUMBER} AS BIGINT) + {_BASE}", 8)},
    {_hex("REGEXP_EXTRACT(JSON_VALUE(origin, '$.pos'), '^([4-9]|[1-9][0-9]{1,17})$', 1)", 16)},
    {_hex("REGEXP_EXTRACT(JSON_VALUE(origin, '$.row'), '^([0-9]{1,9})$', 1)", 8)})
  ELSE CONCAT(
    CASE
      WHEN sequence LIKE '["%' THEN {_hex('''REGEXP_EXTRACT(sequence, '"([0-9]{1,19})",', 1)''', 16)}
      ELSE {_hex(f"{_BASE} + CASE WHEN snapshot IN ({_STREAMED}) THEN 1 ELSE 0 END", 16)}
    END,
    {_hex(f"REGEXP_EXTRACT(sequence, '{position.SEQUENCE}', 2)", 16)})
END"""
"""``appliance.position.of`` in SQL: null where it raises."""

_OUT = {"int64": "BIGINT", "decimal": "STRING", "float64": "DOUBLE", "string": "STRING", "bool": "BOOLEAN"}


_STARTUP = re.compile(r"'scan\.startup\.mode' = '[^']*'(,\s+'scan\.startup\.specific-offsets' = '[^']*')?")


@dataclass(frozen=True)
class KafkaAddress:
    """bootstrap: ``host:port``. edits_partitions: of every edits topic. The login is not here: it is in a JAAS file."""

    bootstrap: str
    edits_partitions: int


@dataclass(frozen=True)
class ViewShape:
    """What the script needs to know of a view. declared: column → type as written in the source.

    derived: column → its expression. rows: condition on rows. reads: the captured columns that these read.
    """

    group: str
    source_topic: str
    edits_topic: str
    dead_letter_topic: str
    join_keys: tuple[str, ...]
    row_id: str
    event_time: str
    columns: tuple[Column, ...]
    declared: dict[str, str]
    derived: Mapping[str, Node] = field(default_factory=dict)
    rows: Node | None = None
    reads: tuple[Column, ...] = ()

    @property
    def values(self) -> list[str]:
        """The captured columns that the script takes out of a row."""
        carried = (column.name for column in self.columns if column.name not in self.derived)
        keys = (self.row_id, *self.join_keys, self.event_time)
        return list(dict.fromkeys((*keys, *carried, *(column.name for column in self.reads))))


def script(view: ViewShape, kafka: KafkaAddress) -> str:
    """The whole script."""
    marker_keys = partitions.keys(kafka.edits_partitions)
    statements = [
        _source(view, kafka),
        _edits_table(view, kafka),
        _dead_letters_table(view, kafka),
        _changes(),
        _rows(view, len(marker_keys)),
        _checked(view),
        _insert(view, marker_keys),
    ]
    return "\n\n".join(statements)


def start_at(script: str, options: Mapping[str, str]) -> str:
    """The script of a job that begins to read the captured topic where these options of Flink's Kafka source say."""
    return _STARTUP.sub(lambda _: _options(options), script)


def start_as(script: str, other: str) -> str:
    """The script of a job that begins where ``other`` does."""
    found = _STARTUP.search(other)
    return _STARTUP.sub(lambda _: found[0], script) if found else script


def text(value: str) -> str:
    """A string literal."""
    return "'" + value.replace("'", "''") + "'"


def _options(options: Mapping[str, str]) -> str:
    return ",\n  ".join(f"{text(key)} = {text(value)}" for key, value in options.items())


def _client(kafka: KafkaAddress) -> dict[str, str]:
    return {
        "properties.bootstrap.servers": kafka.bootstrap,
        "properties.security.protocol": "SASL_PLAINTEXT",
        "properties.sasl.mechanism": "SCRAM-SHA-512",
    }


def _source(view: ViewShape, kafka: KafkaAddress) -> str:
    options = {
        "connector": "kafka",
        "topic": view.source_topic,
        **_client(kafka),
        "properties.group.id": view.group,
        "properties.isolation.level": "read_committed",
        "scan.startup.mode": "earliest-offset",
        "format": "raw",
    }
    return f"""CREATE TEMPORARY TABLE source_log (
  `text` STRING,
  `partition` INT METADATA VIRTUAL,
  `offset` BIGINT METADATA VIRTUAL
) WITH (
  {_options(options)}
);"""


def _sink(topic: str, kafka: KafkaAddress) -> dict[str, str]:
    return {
        "connector": "kafka",
        "topic": topic,
        **_client(kafka),
        "properties.linger.ms": "5",
        "properties.compression.type": "lz4",
        "properties.max.request.size": str(limits.DEAD_LETTER_BYTES),
        "sink.delivery-guarantee": "at-least-once",
        "value.format": "json",
    }


def _edits_table(view: ViewShape, kafka: KafkaAddress) -> str:
    columns = ", ".join(f"`{column.name}` {_out_type(column)}" for column in view.columns)
    row = f"ROW<{columns}>" if columns else "MAP<STRING, STRING>"
    options = {
        **_sink(view.edits_topic, kafka),
        "key.format": "raw",
        "key.fields": "record_key",
        "value.fields-include": "EXCEPT_KEY",
    }
    return f"""CREATE TEMPORARY TABLE edits (
  record_key STRING,
  `sign` INT,
  `position` STRING,
  known_at BIGINT,
  entity STRING,
  row_id STRING,
  event_time BIGINT,
  assumed BOOLEAN,
  `columns` {row},
  channel STRING
) WITH (
  {_options(options)}
);"""


def _dead_letters_table(view: ViewShape, kafka: KafkaAddress) -> str:
    return f"""CREATE TEMPORARY TABLE dead_letters (
  reader STRING,
  topic STRING,
  `partition` INT,
  `offset` BIGINT,
  code STRING,
  message STRING,
  payload_base64 STRING,
  `at` BIGINT
) WITH (
  {_options(_sink(view.dead_letter_topic, kafka))}
);"""


def _changes() -> str:
    return """CREATE TEMPORARY VIEW changes AS
SELECT
  `text`,
  `partition`,
  `offset`,
  JSON_VALUE(`text`, '$.op') AS op,
  JSON_QUERY(`text`, '$.before') AS before_row,
  JSON_QUERY(`text`, '$.after') AS after_row,
  JSON_QUERY(`text`, '$.source') AS origin
FROM source_log
WHERE `text` IS NOT NULL;"""


def _rows(view: ViewShape, partition_count: int) -> str:
    markers = ", ".join(str(_MARKER + each) for each in range(partition_count))
    return f"""CREATE TEMPORARY VIEW split_rows AS
SELECT
  `text`,
  `partition`,
  `offset`,
  op,
  origin,
  part,
  CASE part WHEN -1 THEN before_row WHEN 1 THEN after_row END AS row_text
FROM changes
CROSS JOIN UNNEST(CASE op
  WHEN 'c' THEN ARRAY[1]
  WHEN 'r' THEN ARRAY[1]
  WHEN 'u' THEN ARRAY[-1, 1]
  WHEN 'd' THEN ARRAY[-1]
  WHEN 'm' THEN ARRAY[{markers}]
  ELSE ARRAY[0]
END) AS parts (part);"""


def _checked(view: ViewShape) -> str:
    """One row an edit, its values still text, and ``problem`` ("code|message", null where there is none).

    The values are put into a row and taken out by UNNEST, so that each is parsed once: Flink would copy the expression
    of a view's column to every place that uses it.
    """
    parsed = {
        "committed_at": "JSON_VALUE(origin, '$.ts_us')",
        "snapshot": "COALESCE(JSON_VALUE(origin, '$.snapshot'), 'false')",
        "sequence": "JSON_VALUE(origin, '$.sequence')",
        "marker_position": "CASE WHEN op = 'm' THEN JSON_VALUE(`text`, '$.position') END",
        "marker_channel": "CASE WHEN op = 'm' THEN JSON_VALUE(`text`, '$.channel') END",
        **{_field(name): f"JSON_VALUE(row_text, {text('$.' + name)})" for name in view.values},
    }
    values = ",\n  ".join(parsed.values())
    return f"""CREATE TEMPORARY VIEW edit_rows AS
SELECT
  `text`,
  `partition`,
  `offset`,
  op,
  part,
  row_text,
  {", ".join(parsed)},
  `position`
FROM split_rows
CROSS JOIN UNNEST(ARRAY[ROW(
  {values}
)]) AS parsed ({", ".join(parsed)})
CROSS JOIN UNNEST(ARRAY[{_POSITION}]) AS placed (`position`);

CREATE TEMPORARY VIEW checked AS
SELECT
  *,
  CASE
{_problems(view)}
  END AS problem
FROM edit_rows;"""


def _field(name: str) -> str:
    return f"`value_{name}`"


def _out_type(column: Column) -> str:
    return "BIGINT" if column.type == "timestamp_us" else _OUT[column.type]


def _problems(view: ViewShape) -> str:
    broken = [
        ("part = 0 AND `text` IS NOT JSON OBJECT", "record.not_json", "the record is no JSON object"),
        ("part = 0 AND op IS NULL", "record.no_op", "the record has no field op"),
        ("part = 0 AND op = 't'", _TRUNCATE, "mender writes a delete for each row"),
        ("part = 0", "change.unknown_op", "op is none of c, r, u, d, t, m"),
        (
            f"part >= {_MARKER} AND (marker_channel IS NULL OR committed_at IS NULL OR marker_position IS NULL"
            " OR NOT REGEXP(marker_position, '^[0-9a-f]{32}$'))",
            "marker.invalid",
            "the marker has no channel, time or position of 32 hex digits",
        ),
    ]
    row = [
        ("row_text IS NULL AND part = -1", "change.no_before", "no old row: the table needs REPLICA IDENTITY FULL"),
        ("row_text IS NULL", "change.no_after", "no new row"),
        ("`position` IS NULL", "change.no_position", "source has neither a pair of LSNs nor a place in a binlog"),
        (
            "snapshot = 'false' AND TRY_CAST(committed_at AS BIGINT) IS NULL",
            "change.no_commit_time",
            "source.ts_us is not a number of microseconds",
        ),
    ]
    for name in dict.fromkeys((view.row_id, *view.join_keys, view.event_time)):
        row.append((f"{_field(name)} IS NULL", "change.null", f"column {name} is null or missing"))
    keys = {view.row_id, *view.join_keys, view.event_time}
    for name in (name for name in view.values if name not in keys):
        present = text(f'"{name}":')
        absent = f"{_field(name)} IS NULL AND POSITION({present} IN row_text) = 0"
        row.append((absent, "change.no_column", f"there is no column {name} any more: it was dropped or renamed"))
    for name in view.values:
        kind = view.declared[name]
        test = casts.unfit(kind, _field(name))
        if test:
            row.append((f"{_field(name)} IS NOT NULL AND {test}", "change.type", f"column {name} is no {kind}"))
    for column in view.reads:
        if column.type == "decimal":
            test = casts.too_long(column.scale, _field(column.name))
            row.append((test, "change.digits", f"column {column.name}: an expression takes 18 digits at most"))
    lines = [_when(condition, code, message) for condition, code, message in broken]
    lines.append(f"    WHEN part >= {_MARKER} THEN CAST(NULL AS STRING)")
    lines.extend(_when(condition, code, message) for condition, code, message in row)
    return "\n".join(lines)


def _when(condition: str, code: str, message: str) -> str:
    return f"    WHEN {condition} THEN {text(f'{code}|{message}')}"


def _value(view: ViewShape, column: Column) -> str:
    """A column of an edit."""
    node = view.derived.get(column.name)
    if node is None:
        return casts.value(view.declared[column.name], _field(column.name))
    value = flink_sql.dialect(lambda name: _exact(view, name)).sql(node)
    return casts.unscaled(column.scale, value) if column.type == "decimal" else value


def _exact(view: ViewShape, name: str) -> str:
    """A captured column in the form that expressions compute with."""
    (column,) = (each for each in view.reads if each.name == name)
    if column.type == "decimal":
        return casts.scaled(column.scale, _field(name))
    return casts.value(view.declared[name], _field(name))


def _of_view(view: ViewShape) -> str:
    """Condition: the row is one of the view."""
    if view.rows is None:
        return ""
    condition = flink_sql.dialect(lambda name: _exact(view, name)).condition(view.rows)
    return f" AND (part >= {_MARKER} OR {condition})"


def _insert(view: ViewShape, marker_keys: list[str]) -> str:
    marker = f"part >= {_MARKER}"
    key = " ".join(f"WHEN {_MARKER + number} THEN {text(each)}" for number, each in enumerate(marker_keys))
    entity = "CONCAT_WS(U&'\\001F', " + ", ".join(_field(each) for each in view.join_keys) + ")"
    event_time = casts.microseconds(view.declared[view.event_time], _field(view.event_time))
    values = ", ".join(_value(view, column) for column in view.columns)
    columns = ", ".join(f"`{column.name}` {_out_type(column)}" for column in view.columns)
    row = f"CAST(ROW({values}) AS ROW<{columns}>)" if view.columns else "CAST(MAP['', ''] AS MAP<STRING, STRING>)"
    return f"""EXECUTE STATEMENT SET BEGIN
INSERT INTO edits
SELECT
  CASE part {key} ELSE {entity} END,
  CASE WHEN {marker} THEN 0 ELSE part END,
  CASE WHEN {marker} THEN marker_position ELSE `position` END,
  CASE WHEN {marker} OR snapshot = 'false' THEN CAST(committed_at AS BIGINT) ELSE {event_time} END,
  CASE WHEN {marker} THEN '' ELSE {entity} END,
  CASE WHEN {marker} THEN '' ELSE {_field(view.row_id)} END,
  CASE WHEN {marker} THEN CAST(0 AS BIGINT) ELSE {event_time} END,
  part < {_MARKER} AND snapshot <> 'false',
  {row},
  CASE WHEN {marker} THEN marker_channel ELSE '' END
FROM checked
WHERE problem IS NULL{_of_view(view)};
INSERT INTO dead_letters
SELECT
  'flink',
  {text(view.source_topic)},
  `partition`,
  `offset`,
  SPLIT_INDEX(problem, '|', 0),
  SPLIT_INDEX(problem, '|', 1),
  TO_BASE64(`text`),
  UNIX_TIMESTAMP() * 1000000
FROM checked
WHERE problem IS NOT NULL AND SPLIT_INDEX(problem, '|', 0) <> {text(_TRUNCATE)};
END;"""
