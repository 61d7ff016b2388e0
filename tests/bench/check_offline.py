"""The book's 12 features of the later months' payments through Feast's historical path alone, without an appliance.

    python -m tests.bench.check_offline --data FOLDER

Lays the change tables of all payments and labels into a lake folder (``payments_lake``, undisturbed), asks Feast's
``get_historical_features`` for every payment since 2018-06-01 at its own position, and compares with the book's method
(``reference``, itself checked against the published values by ``check_reference``). Exit status 1: a value differs.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from tests.bench import bench_historical, machine, reference

_SINCE = pd.Timestamp("2018-06-01")
_ALL = 10_000_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the two Parquet files")
    parser.add_argument("--out", type=Path, help="folder of offline.json and .md (a new one in /tmp)")
    arguments = parser.parse_args()
    out: Path = arguments.out or Path(tempfile.mkdtemp(prefix="offline-"))
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        home = Path(name) / "home"
        home.mkdir()
        os.environ["APPLIANCE_HOME"] = str(home)
        from tests.bench.payments_lake import make

        frame = make(home, arguments.data / "card_transactions.parquet", _ALL, disturbed=False)
        pq.write_table(frame, home / "frame.parquet")
        began = time.monotonic()
        bench_historical.all_rows(home, 0)()
        seconds = time.monotonic() - began
        got = pq.read_table(home / "features.parquet").to_pandas()
    rows = reference.payments(arguments.data, "2100-01-01")
    expected = reference.by_the_books_method(rows)
    later = set(rows.loc[rows["tx_datetime"] >= _SINCE, "transaction_id"])
    expected, got = (each[each["transaction_id"].isin(later)] for each in (expected, got))
    wrong = reference.different(expected, got[["transaction_id", *reference.FEATURES]])
    text = (
        f"{len(expected):,} payments since {_SINCE.date()}, 12 features each, by Feast's historical path: {len(wrong)} "
        f"with a value different from the book's method (all {len(frame):,} payments in {seconds:.0f} s).\n"
    )
    result = {"payments": len(expected), "different": len(wrong), "first": wrong.head(10).to_dict("records")}
    machine.write(out, "offline", result, text)
    sys.stdout.write(f"{text}\n{out}/offline.json, offline.md\n")
    return 1 if len(wrong) else 0


if __name__ == "__main__":
    sys.exit(main())
