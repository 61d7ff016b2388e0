"""Lays down Triton: the server and Python backend of nvidia-pytriton's wheel, and a backend ``onnxruntime`` of ours.

The wheel keeps its libraries beside its package and finds them by relative path, so both stay where they are in it.
The stub is the one built for the environment's Python 3.11; it needs Debian's ``libpython3.11``.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from installer.laydown.base import Tools

NAME = "triton"
LOCKS = ("python/tritonserver.txt",)
RESOURCES = ("resources/triton_onnxruntime.py",)
AFTER = ()
ENVIRONMENTS = ("triton",)

_STUB = "triton_python_backend_stub"


def lay_down(tools: Tools, target: Path) -> None:
    """Fill ``target``: ``pytriton/tritonserver/{bin,backends}`` and ``nvidia_pytriton.libs``."""
    tools.pypi("tritonserver", target)
    server = target / "pytriton" / "tritonserver"
    for path in (target / "pytriton").iterdir():
        if path != server:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    backends = server / "backends"
    stub = backends / "python" / _STUB
    shutil.copyfile(server / "python_backend_stubs" / "3.11" / _STUB, stub)
    stub.chmod(0o755)
    shutil.rmtree(server / "python_backend_stubs")
    (server / "bin" / "tritonserver").chmod(0o755)
    ours = backends / "onnxruntime"
    ours.mkdir()
    shutil.copyfile(Path(__file__).parent / "resources" / "triton_onnxruntime.py", ours / "model.py")
