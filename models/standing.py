"""How a model stands beside its champion: who is in shadow, whether a person has frozen it or taken it off line.

``data/models/<model>/standing.json``; which version is the champion stands in the registry alone.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from models.registry import Registry

Role = Literal["challenger", "former"]
ROLES: tuple[Role, ...] = ("challenger", "former")


class Shadow(msgspec.Struct, frozen=True):
    """A version that scores live rows and decides nothing. cutoff: only labels known after it count (µs UTC)."""

    version: int
    cutoff: int


class Standing(msgspec.Struct, frozen=True):
    """challenger: may become champion. earlier: challengers that it has taken the place of, the first one first; labels
    from the cutoff of each to that of the next speak for it. former: the champion before the present one.

    frozen: nothing is changed but by a person. offline: Triton does not hold the model. cutoff: labels known up to it
    were there for the last candidate.
    """

    challenger: Shadow | None = None
    earlier: tuple[Shadow, ...] = ()
    former: Shadow | None = None
    frozen: bool = False
    offline: bool = False
    cutoff: int = 0

    @property
    def campaign(self) -> tuple[Shadow, ...]:
        """The challengers of one test, the first one first; none without a challenger."""
        return (*self.earlier, self.challenger) if self.challenger else ()

    def of(self, role: Role) -> Shadow | None:
        return self.challenger if role == "challenger" else self.former

    def without(self, role: Role) -> Standing:
        """The same with nobody in that role; without a challenger its test has ended."""
        if role == "former":
            return msgspec.structs.replace(self, former=None)
        return msgspec.structs.replace(self, challenger=None, earlier=())


def triton_name(model: str, role: Role) -> str:
    """What Triton calls the version in shadow."""
    return f"{model}-{role}"


def read(registry: Registry, model: str) -> Standing:
    path = registry.folder / model / "standing.json"
    return msgspec.json.decode(path.read_bytes(), type=Standing) if path.exists() else Standing()


def write(registry: Registry, model: str, standing: Standing) -> None:
    """In one step."""
    path = registry.folder / model / "standing.json"
    temporary = path.with_suffix(".new")
    temporary.write_bytes(msgspec.json.encode(standing))
    temporary.rename(path)
