"""Submits SQL scripts to the session cluster: ``python -m stream_jobs.flink.submit``.

stdin: a JSON list of ``{"name", "sql", "options"}``; options are Flink's configuration keys. stdout: one JSON line a
job, ``{"name", "job"}`` with the job's id, in the order given. Exits with 1 and a trace on stderr at the first failure.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pyflink.common import Configuration
from pyflink.table import EnvironmentSettings, TableEnvironment


def submit(sql: str, options: dict[str, str]) -> str:
    """Run the script's statements; the last one becomes the job. Returns its id."""
    configuration = Configuration()
    for key, value in options.items():
        configuration.set_string(key, value)
    settings = EnvironmentSettings.new_instance().in_streaming_mode().with_configuration(configuration).build()
    tables = TableEnvironment.create(settings)
    statements = [statement.rstrip().removesuffix(";") for statement in sql.split("\n\n")]
    for statement in statements[:-1]:
        tables.execute_sql(statement)
    client = tables.execute_sql(statements[-1] + ";").get_job_client()
    if client is None:
        raise RuntimeError("the script's last statement started no job")
    return str(client.get_job_id())


def main() -> None:
    wanted: list[dict[str, Any]] = json.load(sys.stdin)
    for each in wanted:
        print(json.dumps({"name": each["name"], "job": submit(each["sql"], each["options"])}), flush=True)


if __name__ == "__main__":
    main()
