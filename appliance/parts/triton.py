"""Triton: serves every model of the appliance's repository over HTTP and gRPC, on loopback."""

from __future__ import annotations

import os

from appliance import golden
from appliance.clients.triton_repository import TritonModelError, TritonRepository, TritonUnavailableError
from appliance.errors import NotReadyError, PartError
from appliance.parts.base import BasePart, Context, Process
from appliance.ports import Port

_LAUNCH = 'rm -f -- /dev/shm/"$SHM_PREFIX"*; exec "$@"'
"""A server that was killed leaves its shared memory behind; nobody else uses the prefix when the next one starts."""


class Triton(BasePart):
    """tritonserver with explicit model control: it starts with what the repository holds, also with nothing."""

    name = "triton"
    needs: tuple[str, ...] = ()
    ready_timeout_seconds = 300

    def prepare(self, context: Context) -> None:
        context.layout.model_repository.mkdir(parents=True, exist_ok=True)

    def process(self, context: Context) -> Process:
        server = context.installation.part("triton") / "pytriton" / "tritonserver"
        binary = server / "bin" / "tritonserver"
        if not binary.exists():
            raise PartError("triton.not_laid_down", f"{binary} does not exist", hint="run ./install again")
        prefix = f"appliance-{context.installation.port_base}-"
        command = (
            "/bin/sh", "-c", _LAUNCH, "triton", str(binary),
            f"--model-repository={context.layout.model_repository}",
            f"--backend-directory={server / 'backends'}",
            f"--backend-config=python,shm-region-prefix-name={prefix}",
            "--model-control-mode=explicit",
            "--load-model=*",
            "--strict-readiness=false",
            "--exit-on-error=false",
            "--disable-auto-complete-config",
            "--http-address=127.0.0.1", f"--http-port={context.port(Port.TRITON_HTTP)}",
            "--grpc-address=127.0.0.1", f"--grpc-port={context.port(Port.TRITON_GRPC)}",
            "--metrics-address=127.0.0.1", f"--metrics-port={context.port(Port.TRITON_METRICS)}",
            "--allow-gpu-metrics=false",
            "--exit-timeout-secs=3",
        )  # fmt: skip
        path = f"{context.installation.env('triton') / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin"
        return Process(command, environment={"PATH": path, "SHM_PREFIX": prefix})

    def ready(self, context: Context) -> None:
        """The right scores for the golden rows of every model; with no model, an answer from the repository."""
        triton = TritonRepository.of(context)
        try:
            triton.live()
            triton.index()
            for rows in golden.in_repository(context.layout.model_repository):
                golden.check(triton, rows)
        except (TritonUnavailableError, TritonModelError) as error:
            raise NotReadyError("triton.not_ready", error.message, hint=error.hint) from error
