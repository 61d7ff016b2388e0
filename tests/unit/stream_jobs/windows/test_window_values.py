"""Values are kept exactly or refused."""

from __future__ import annotations

import pytest

from stream_jobs.errors import EditError, WindowError
from stream_jobs.plan import Column, WindowFeature
from stream_jobs.windows.assemble import Windows
from stream_jobs.windows.values import border, exact, row_number

MONEY = Column("amount", "decimal", 2)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [("12.34", 1234), ("-0.5", -50), ("7", 700), (12.3, 1230), (3, 300), ("1E+2", 10000), ("0.10", 10), ("5.", 500),
     ("-0.00", 0), ("1.2300", 123), ("92233720368547758.07", 2**63 - 1)],
)  # fmt: skip
def test_decimals_become_scaled_integers(value, wanted):
    assert exact(MONEY, value) == wanted


@pytest.mark.parametrize(
    "value",
    ["1.234", "", "x", "NaN", "Infinity", True, "92233720368547758.08", "1E+400", float("nan"), "١٢", ".", "--1"],
)
def test_what_is_no_such_decimal_is_refused(value):
    with pytest.raises(EditError):
        exact(MONEY, value)


def test_the_border_gives_the_nearest_float():
    assert border(MONEY, exact(MONEY, "0.1")) == 0.1
    assert border(MONEY, exact(MONEY, "90071992547409.93")) == 90071992547409.93
    assert border(MONEY, None) is None


@pytest.mark.parametrize(
    ("kind", "value"),
    [("int64", 2**63), ("int64", "07"), ("int64", 1.5), ("int64", True), ("float64", "1"), ("float64", float("inf")),
     ("bool", 1), ("string", 1), ("timestamp_us", "2018-01-01")],
)  # fmt: skip
def test_a_value_of_another_type_is_refused(kind, value):
    with pytest.raises(EditError):
        exact(Column("c", kind), value)


@pytest.mark.parametrize("text", ["07", "1.0", "", " 1", "1_000", str(2**63)])
def test_ids_are_never_taken_for_another(text):
    with pytest.raises(EditError):
        row_number(text)


@pytest.mark.parametrize(
    "feature",
    [
        WindowFeature("f", "sum", None, 1),
        WindowFeature("f", "sum", "gone", 1),
        WindowFeature("f", "sum", "name", 1),
        WindowFeature("f", "sum", "amount", 0),
        WindowFeature("f", "sum", "amount", 1, where="amount"),
        WindowFeature("f", "last_n", "amount", 1, n=0),
    ],
)
def test_features_that_make_no_sense_are_refused(feature):
    with pytest.raises(WindowError):
        Windows((MONEY, Column("name", "string")), (feature,))
