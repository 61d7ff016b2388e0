"""Acts on models: the one place that puts a version into service, into shadow, or takes it back.

Every act is written down with who, why and the figures, before it is done (``appliance.audit``). A promotion and a way
back are a change of the one version that Triton serves: no request fails.
"""

from __future__ import annotations

import fcntl
import getpass
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from appliance import audit, users
from appliance.clients import redis as redis_clients
from appliance.clock import Clock
from appliance.golden import Golden
from appliance.parts.base import Context
from models import gate, inputs
from models import standing as standings
from models.errors import GateError, RegistryError
from models.registry import Champion, ModelVersion, Registry
from models.serving import Serving
from models.standing import ROLES, Role, Shadow, Standing, triton_name
from stream_jobs import plan as plans
from stream_jobs.compiler.definition import inputs_hash

_WAIT_SECONDS = 30.0
LEARNER = "learner"
"""Who acts when no person does."""


@dataclass(frozen=True)
class Actor:
    """Who acts, why, and when by the appliance clock (µs UTC). figures: what it was decided by, JSON values."""

    who: str
    why: str
    now_us: int
    figures: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def now(cls, context: Context, who: str, why: str, figures: dict[str, Any] | None = None) -> Actor:
        """Somebody who acts at this moment of the appliance clock."""
        with redis_clients.connect(context, users.ADMINISTRATOR) as store:
            return cls(who, why, Clock(store, context.names.redis_clock()).now_us(), figures or {})

    @classmethod
    def by_command(cls, context: Context, why: str) -> Actor:
        """The user of this process."""
        return cls.now(context, getpass.getuser(), why)


class Switchboard:
    """Acts on the models of one appliance. Every method raises AuditError when it cannot be written down,
    RegistryError when there is no such version, DeploymentError or TritonUnavailableError when Triton does not take it.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self.registry = Registry.of(context)
        self._serving = Serving.of(context)

    def promote(self, model: str, version: int, actor: Actor, *, force: bool = False) -> ModelVersion:
        """Make a version the champion; the champion before goes on in shadow.

        Raises GateError when the gate refused the version, unless ``force``, and, by force or not, when its service
        gives other inputs than it takes.
        """
        record = self.registry.get(model, version)
        if record.refused and not force:
            raise GateError(
                "gate.refused", f"version {version} of {model} was not promoted: {record.refused}",
                hint="add --force to serve it all the same",
            )  # fmt: skip
        self._check_schema(record)
        with self._alone():
            champion = self.registry.champion(model)
            history, withdrawn = (champion.history, champion.withdrawn) if champion else ((), ())
            again = bool(history) and history[-1] == version
            with self._act(model, "model.promote", actor, version=version, instead_of=history[-1] if history else None):
                self._serve(record, keep=history[-1:])
                if not again:
                    left = tuple(each for each in withdrawn if each != version)
                    self.registry.set_champion(model, Champion((*history, version), left))
            before = standings.read(self.registry, model)
            former = self._comparable(record, history[-1], actor) if history and not again else before.former
            self._stand(
                model, msgspec.structs.replace(before, former=former, challenger=None, earlier=(), offline=False)
            )
        return record

    def rollback(self, model: str, actor: Actor) -> ModelVersion:
        """Serve the champion before the present one. Raises RegistryError when there was none."""
        with self._alone():
            champion = self.registry.champion(model)
            if champion is None or len(champion.history) < 2:
                raise RegistryError(
                    "model.no_earlier", f"there is no earlier champion of {model!r}",
                    hint=f"appliance model list {model}",
                )  # fmt: skip
            earlier = Champion(champion.history[:-1], (*champion.withdrawn, champion.version))
            record = self.registry.get(model, earlier.version)
            with self._act(model, "model.rollback", actor, version=earlier.version, instead_of=champion.version):
                self._serve(record, keep=(champion.version,))
                self.registry.set_champion(model, earlier)
            before = standings.read(self.registry, model)
            self._stand(model, msgspec.structs.replace(before, former=None, challenger=None, earlier=(), offline=False))
        return record

    def challenge(self, model: str, version: int, cutoff: int, actor: Actor, *, goes_on: bool = False) -> ModelVersion:
        """Put a version into shadow on live traffic. Raises RegistryError when it cannot be compared.

        goes_on: it takes the place of the challenger there is, and their test goes on; else a test begins.
        """
        record = self.registry.get(model, version)
        with self._alone():
            champion = self._known(model)
            if champion.version == version:
                raise RegistryError("model.no_contest", f"version {version} of {model} is the champion itself")
            if champion.inputs != record.inputs:
                raise RegistryError(
                    "model.other_inputs",
                    f"version {version} of {model} has other inputs than the champion: served features do not fit it",
                    hint="appliance model train",
                )
            with self._act(model, "model.challenge", actor, version=version, champion=champion.version):
                before = standings.read(self.registry, model)
                earlier = before.campaign if goes_on else ()
                self._stand(model, msgspec.structs.replace(before, challenger=Shadow(version, cutoff), earlier=earlier))
        return record

    def drop(self, model: str, role: Role, actor: Actor) -> None:
        """Take a version out of shadow. Raises RegistryError when there is none."""
        with self._alone():
            before = standings.read(self.registry, model)
            shadow = before.of(role)
            if shadow is None:
                raise RegistryError("model.no_shadow", f"{model} has no {role} in shadow", hint="appliance model list")
            with self._act(model, f"model.drop_{role}", actor, version=shadow.version):
                self._stand(model, before.without(role))

    def freeze(self, model: str, frozen: bool, actor: Actor) -> None:
        """Let nothing but a person change the model, or let the loop decide again."""
        with self._alone():
            self._known(model)
            with self._act(model, "model.freeze" if frozen else "model.unfreeze", actor):
                before = standings.read(self.registry, model)
                standings.write(self.registry, model, msgspec.structs.replace(before, frozen=frozen))

    def offline(self, model: str, actor: Actor) -> None:
        """Take a model out of Triton: requests are refused, captured rows wait."""
        with self._alone():
            self._known(model)
            with self._act(model, "model.offline", actor):
                before = standings.read(self.registry, model)
                self._stand(
                    model, msgspec.structs.replace(before, former=None, challenger=None, earlier=(), offline=True)
                )
                self._serving.withdraw(model)

    def online(self, model: str, actor: Actor) -> ModelVersion:
        """Serve the champion again."""
        with self._alone():
            record = self._known(model)
            with self._act(model, "model.online", actor, version=record.version):
                self._serve(record, keep=())
                before = standings.read(self.registry, model)
                standings.write(self.registry, model, msgspec.structs.replace(before, offline=False))
        return record

    def tried(self, model: str, cutoff: int) -> None:
        """Note up to which label a candidate has been made. No act: nothing is served otherwise."""
        with self._alone():
            before = standings.read(self.registry, model)
            standings.write(self.registry, model, msgspec.structs.replace(before, cutoff=cutoff))

    def _check_schema(self, record: ModelVersion) -> None:
        """Raises GateError when the version does not take what its service, as it was applied last, gives."""
        plan = plans.read(self._context.layout.plan_file)
        service = plan.wanted_service(record.service)
        if service.model == record.model:
            gate.check_schema(record, inputs.of(service), inputs_hash(service, plan.wanted_views))

    def _known(self, model: str) -> ModelVersion:
        """The champion. Raises RegistryError when the model has none."""
        champion = self.registry.champion(model)
        if champion is None:
            raise RegistryError("model.unknown", f"there is no champion of {model!r}", hint="appliance model list")
        return self.registry.get(model, champion.version)

    def _comparable(self, record: ModelVersion, former: int, actor: Actor) -> Shadow | None:
        """The former champion in shadow, unless the features now served do not fit it."""
        fits = self.registry.get(record.model, former).inputs == record.inputs
        return Shadow(former, actor.now_us) if fits else None

    @contextmanager
    def _act(self, model: str, act: str, actor: Actor, **details: Any) -> Iterator[None]:
        told = details | {"why": actor.why, "figures": actor.figures}
        with audit.recorded(self._context, actor.who, act, model, **told):
            yield

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One act at a time. Raises RegistryError when another one takes longer than 30 s."""
        deadline = time.monotonic() + _WAIT_SECONDS
        with (self._context.data("models") / ".switching").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if time.monotonic() > deadline:
                        raise RegistryError("model.busy", "another change of a model is under way") from error
                    time.sleep(0.1)
            yield

    def _serve(self, record: ModelVersion, keep: tuple[int, ...], name: str = "") -> None:
        folder = self.registry.path(record.model, record.version)
        golden = msgspec.json.decode((folder / "golden.json").read_bytes(), type=Golden)
        named = msgspec.structs.replace(golden, model=name or record.model)
        self._serving.serve(named, folder / "model.onnx", keep)

    def _stand(self, model: str, wanted: Standing) -> None:
        """Let Triton hold in shadow what should be there, and write it down."""
        for role in ROLES:
            shadow = wanted.of(role)
            if shadow is None:
                self._serving.withdraw(triton_name(model, role))
            else:
                self._serve(self.registry.get(model, shadow.version), keep=(), name=triton_name(model, role))
        standings.write(self.registry, model, wanted)
