"""Triton: serves every model of the appliance's repository over HTTP and gRPC, on loopback."""

from __future__ import annotations

import os

from appliance import golden
from appliance.clients.triton_repository import TritonModelError, TritonRepository, TritonUnavailableError
from appliance.errors import NotReadyError
from appliance.parts import triton_server
from appliance.parts.base import BasePart, Context, Process


class Triton(BasePart):
    """tritonserver, kept by ``triton_server``."""

    name = "triton"
    needs: tuple[str, ...] = ()
    ready_timeout_seconds = 300

    def prepare(self, context: Context) -> None:
        repository = context.layout.model_repository
        repository.mkdir(parents=True, exist_ok=True)
        triton_server.lock_file(repository).touch()

    def process(self, context: Context) -> Process:
        """A process of ours that keeps tritonserver, which runs in Triton's own environment."""
        triton_server.command(context, 1)
        path = f"{context.installation.env('triton') / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin"
        return Process((context.python(), "-m", "appliance.parts.triton_server"), environment={"PATH": path})

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
