"""The rule that settles contradicting labels, in Python and in SQL."""

from __future__ import annotations

import duckdb
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from models.feedback.settle import AUTHORITY, SQL, Settled, Statement, settle

_STATEMENTS = st.lists(
    st.builds(
        Statement,
        source=st.sampled_from(AUTHORITY),
        label=st.sampled_from([0, 1, None]),
        known_at=st.integers(0, 5),
        statement_id=st.text("abc", min_size=1, max_size=2),
    ),
    max_size=12,
    unique_by=lambda one: (one.source, one.known_at, one.statement_id),
)


@given(_STATEMENTS, st.randoms())
def test_order_and_repetition_change_nothing(statements: list[Statement], random: object) -> None:
    again = [*statements, *statements[: len(statements) // 2]]
    random.shuffle(again)  # type: ignore[attr-defined]
    assert settle(again) == settle(statements)


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), _STATEMENTS, max_size=3))
def test_the_sql_says_the_same(events: dict[str, list[Statement]]) -> None:
    rows = [
        {"event_key": key, "source": one.source, "label": one.label, "known_at": one.known_at, "id": one.statement_id}
        for key, said in events.items()
        for one in said
    ]
    schema = pa.schema(
        [("event_key", pa.string()), ("source", pa.string()), ("label", pa.int32()), ("known_at", pa.int64()),
         ("statement_id", pa.string())]
    )  # fmt: skip
    columns = [[row["id" if name == "statement_id" else name] for row in rows] for name in schema.names]
    with duckdb.connect() as connection:
        connection.register("statements", pa.table(columns, schema=schema))
        found = {row[0]: Settled(*row[1:]) for row in connection.execute(SQL).fetchall()}
    expected = {key: answer for key, said in events.items() if (answer := settle(said)) is not None}
    assert found == expected


def test_the_label_table_outranks_a_person_who_outranks_an_app() -> None:
    app, person = Statement("http", 0, 9, "x"), Statement("console", 1, 5, "y")
    table = Statement("table", 0, 1, "z")
    assert settle([app, person]) == Settled(1, 5, "console", True)
    assert settle([app, person, table]) == Settled(0, 1, "table", True)


def test_a_later_word_of_the_same_source_counts_and_may_take_back() -> None:
    first, second = Statement("console", 1, 5, "a"), Statement("console", 0, 6, "b")
    back = Statement("console", None, 7, "c")
    assert settle([second, first]) == Settled(0, 6, "console", False)
    assert settle([first, back, second]) is None
    assert settle([first, back, Statement("kafka", 1, 1, "k")]) == Settled(1, 1, "kafka", False)
