"""Putting a version into Triton's model repository, and taking back what does not answer as it should.

The repository has, for each model: ``config.pbtxt`` (which names the one version that is served), ``golden.json``, and
a folder for the version served and for the one before it. A version's folder appears in one step (rename).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance import golden
from appliance.clients.triton_repository import INPUT, OUTPUT, TritonRepository
from appliance.errors import ApplianceError
from appliance.golden import Golden
from appliance.parts.base import Context
from appliance.parts.triton_server import changing
from models.errors import DeploymentError

MAX_BATCH_ROWS = 1024
_LOAD_TIMEOUT_S = 120.0
_CONFIG = "config.pbtxt"


def config_pbtxt(model: str, width: int, version: str) -> str:
    """Configuration for the stock onnxruntime backend: ``features`` [n, width] in, ``score`` [n, 1] out."""
    return f"""name: "{model}"
platform: "onnxruntime_onnx"
max_batch_size: {MAX_BATCH_ROWS}
input [ {{ name: "{INPUT}" data_type: TYPE_FP32 dims: [ {width} ] }} ]
output [ {{ name: "{OUTPUT}" data_type: TYPE_FP32 dims: [ 1 ] }} ]
version_policy: {{ specific: {{ versions: [ {version} ] }} }}
instance_group [ {{ kind: KIND_CPU count: 1 }} ]
parameters {{ key: "intra_op_thread_count" value: {{ string_value: "1" }} }}
parameters {{ key: "inter_op_thread_count" value: {{ string_value: "1" }} }}
"""


@dataclass(frozen=True)
class _Served:
    """What stood in the model's folder before a change."""

    config: bytes | None
    golden: bytes | None


@dataclass(frozen=True)
class Lent:
    """name: what Triton knows the version by for a while. difference: the largest from its golden scores."""

    name: str
    difference: float


class Serving:
    """Triton's repository of one appliance."""

    def __init__(self, repository: Path, triton: TritonRepository) -> None:
        self._repository, self._triton = repository, triton

    @classmethod
    def of(cls, context: Context) -> Serving:
        return cls(context.layout.model_repository, TritonRepository.of(context, _LOAD_TIMEOUT_S))

    def check_live(self) -> None:
        """Raises TritonUnavailableError when there is no server to load a model into."""
        self._triton.live()

    @contextmanager
    def lent(self, rows: Golden, onnx: Path, purpose: str) -> Iterator[Lent]:
        """A version in Triton under the name ``<model>-<purpose>``, checked, and taken away afterwards.

        One at a time for each purpose. Raises DeploymentError when it cannot be loaded or a golden score is wrong.
        """
        name = f"{rows.model}-{purpose}"
        folder = self._repository / name
        trial = Golden(name, rows.version, rows.rows, rows.scores, rows.tolerance)
        try:
            try:
                with changing(self._repository):
                    self._remove(name)
                    self._put_version(folder, rows.version, onnx)
                    _write(folder / _CONFIG, config_pbtxt(name, len(rows.rows[0]), rows.version).encode())
                    self._triton.load(name)
                    worst = golden.check(self._triton, trial)
            except ApplianceError as error:
                raise DeploymentError(
                    "deployment.trial", f"version {rows.version} of {rows.model} fails in Triton: {error.message}",
                    hint="appliance logs triton",
                ) from error  # fmt: skip
            yield Lent(name, worst)
        finally:
            with changing(self._repository):
                self._remove(name)

    def serve(self, rows: Golden, onnx: Path, keep: tuple[int, ...]) -> float:
        """Make a version the one that is served, and check it. keep: versions whose folders stay as well.

        Returns the largest difference on the golden rows. Raises DeploymentError; then what was served before is
        served again (or nothing, if nothing was).
        """
        with changing(self._repository):
            return self._serve(rows, onnx, keep)

    def _serve(self, rows: Golden, onnx: Path, keep: tuple[int, ...]) -> float:
        folder = self._repository / rows.model
        before = _Served(_read(folder / _CONFIG), _read(folder / golden.FILE))
        was_there = (folder / rows.version).exists()
        try:
            self._put_version(folder, rows.version, onnx)
            _write(folder / _CONFIG, config_pbtxt(rows.model, len(rows.rows[0]), rows.version).encode())
            golden.write(rows, folder)
            self._triton.load(rows.model)
            worst = golden.check(self._triton, rows)
        except ApplianceError as error:
            again = self._restore(rows.model, before)
            if not was_there:
                shutil.rmtree(folder / rows.version, ignore_errors=True)
            raise DeploymentError(
                "deployment.failed", f"version {rows.version} of {rows.model} is not served: {error.message}; {again}",
                hint="appliance logs triton",
            ) from error  # fmt: skip
        for path in folder.iterdir():
            if path.name.isdigit() and int(path.name) not in (int(rows.version), *keep):
                shutil.rmtree(path)
        return worst

    def withdraw(self, name: str) -> None:
        """Take a model out of Triton, if it is there."""
        with changing(self._repository):
            self._remove(name)

    def _remove(self, name: str) -> None:
        """Unload a model, if Triton knows it, and remove its folder."""
        folder = self._repository / name
        if not folder.exists():
            return
        try:
            self._triton.unload(name)
        finally:
            shutil.rmtree(folder)

    def _put_version(self, folder: Path, version: str, onnx: Path) -> None:
        """The version's folder, complete from the moment it is there."""
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / version
        if target.exists():
            return
        staged = self._repository.parent / f"staged-{folder.name}-{version}"
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir()
        shutil.copyfile(onnx, staged / "model.onnx")
        staged.rename(target)

    def _restore(self, model: str, before: _Served) -> str:
        """Serve again what was served. Returns what became of it, in words."""
        folder = self._repository / model
        if before.config is None or before.golden is None:
            self._remove(model)
            return "no version was served before"
        _write(folder / _CONFIG, before.config)
        _write(folder / golden.FILE, before.golden)
        rows = golden.read(folder)
        try:
            self._triton.load(model)
            golden.check(self._triton, rows)
        except ApplianceError as error:
            return f"serving version {rows.version} again failed too: {error.message}"
        return f"version {rows.version} is served again"


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(content)
    temporary.rename(path)
