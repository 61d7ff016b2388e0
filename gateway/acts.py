"""Acts on models, from the API and from the console: the same ones that the command has, and written down alike."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from appliance import audit
from appliance.clients.triton_repository import TritonUnavailableError
from appliance.errors import ApplianceError
from appliance.parts.base import Context
from gateway.errors import ConflictError, Fault, InvalidError, NotFoundError, PartDownError
from models import standing as standings
from models.errors import DeploymentError, GateError, RegistryError
from models.registry import Registry
from models.standing import Shadow
from models.switching import Actor, Switchboard

Name = Literal["promote", "rollback", "challenge", "drop_challenger", "drop_former", "freeze", "unfreeze", "offline",
               "online"]  # fmt: skip
NAMES: tuple[Name, ...] = get_args(Name)
_OF_A_VERSION = ("promote", "challenge")
_ACTS_SHOWN = 10


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """version: for promote and challenge. force: promote a version that the gate refused. why: for the record."""

    act: Name
    version: int | None = None
    why: str = ""
    force: bool = False


class ModelStanding(msgspec.Struct, frozen=True):
    """Which versions serve and run in shadow. acts: what was last done, by whom and why; the newest first."""

    model: str
    service: str
    champion: int
    versions: list[int]
    challenger: Shadow | None
    former: Shadow | None
    frozen: bool
    offline: bool
    acts: list[audit.Act]


def standing(context: Context, model: str) -> ModelStanding:
    """Raises NotFoundError without such a model, PartDownError when PostgreSQL does not answer."""
    registry = Registry.of(context)
    champion = registry.champion(model) if model in registry.models() else None
    if champion is None:
        raise NotFoundError("model.unknown", f"there is no champion of {model!r}", hint="GET /v1/standings")
    now = standings.read(registry, model)
    try:
        acts = audit.of_subject(context, model, _ACTS_SHOWN)
    except audit.AuditError as error:
        raise PartDownError("postgres", error.message) from error
    versions = registry.versions(model)
    return ModelStanding(
        model, versions[-1].service, champion.version, [each.version for each in versions], now.challenger, now.former,
        now.frozen, now.offline, acts,
    )  # fmt: skip


def every(context: Context) -> list[ModelStanding]:
    """Every model that has a champion."""
    registry = Registry.of(context)
    return [standing(context, model) for model in registry.models() if registry.champion(model) is not None]


def do(context: Context, model: str, wish: Wish, who: str, now_us: int) -> ModelStanding:
    """Do it, and say how the model stands then.

    Raises NotFoundError, InvalidError, ConflictError (the state does not allow it), PartDownError.
    """
    if (wish.act in _OF_A_VERSION) != (wish.version is not None):
        expected = "a version" if wish.act in _OF_A_VERSION else "no version"
        raise InvalidError(wish.act, [Fault("version", expected, str(wish.version))], hint="GET /v1/standings")
    standing(context, model)
    board, actor = Switchboard(context), Actor(who, wish.why, now_us)
    try:
        _do(board, model, wish, actor)
    except audit.AuditError as error:
        raise PartDownError("postgres", error.message) from error
    except TritonUnavailableError as error:
        raise PartDownError("triton", error.message) from error
    except (RegistryError, GateError, DeploymentError) as error:
        raise _refused(error) from error
    return standing(context, model)


def _do(board: Switchboard, model: str, wish: Wish, actor: Actor) -> None:
    version = wish.version or 0
    match wish.act:
        case "promote":
            board.promote(model, version, actor, force=wish.force)
        case "rollback":
            board.rollback(model, actor)
        case "challenge":
            board.challenge(model, version, actor.now_us, actor)
        case "drop_challenger":
            board.drop(model, "challenger", actor)
        case "drop_former":
            board.drop(model, "former", actor)
        case "freeze":
            board.freeze(model, True, actor)
        case "unfreeze":
            board.freeze(model, False, actor)
        case "offline":
            board.offline(model, actor)
        case "online":
            board.online(model, actor)


def _refused(error: ApplianceError) -> ApplianceError:
    kind = NotFoundError if error.code == "model.no_version" else ConflictError
    return kind(error.code, error.message, context=error.context, hint=error.hint)
