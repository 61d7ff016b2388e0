"""The compiled reads: made once, before the processes start that would otherwise each compile them for 8 s."""

from __future__ import annotations

from pathlib import Path

from appliance.layout import Layout
from installer.options import SYSTEM_USER
from installer.run import run


def compile_reads(layout: Layout, python: Path) -> None:
    """Import the kernel as the system user, whose processes then find its machine code in ``run/compiled``."""
    run(
        ["setpriv", "--reuid", SYSTEM_USER, "--regid", SYSTEM_USER, "--init-groups", python, "-P", "-s", "-c",
         "import stream_jobs.windows.kernel"],
        "compiling the reads of features",
        environment={
            "PYTHONPATH": str(layout.code), "NUMBA_CACHE_DIR": str(layout.run / "compiled"), "HOME": str(layout.data),
        },
        directory=layout.data,
    )  # fmt: skip
