"""The console's page of the learning loop, in every state of a model."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from appliance.audit import Act
from gateway.acts import ModelStanding
from gateway.console import templates
from models.standing import Shadow

_ACTS = [
    Act(datetime(2026, 1, 2, tzinfo=UTC), "learner", "model.promote", "m", {"version": 3, "why": "it is <better>"}),
    Act(datetime(2026, 1, 1, tzinfo=UTC), "console:admin", "model.freeze", "m", {}),
]


def _page(*models: ModelStanding, told: str = "") -> str:
    return templates.render("learning.html", user="admin", csrf="token", models=list(models), told=told).decode()


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("offline", [True, False])
def test_every_state_has_its_buttons(frozen: bool, offline: bool) -> None:
    page = _page(ModelStanding("m", "s", 3, [1, 2, 3], Shadow(2, 5), Shadow(1, 5), frozen, offline, _ACTS))
    wanted = {"promote", "drop_challenger", "rollback", "drop_former", "unfreeze" if frozen else "freeze",
              "online" if offline else "offline"}  # fmt: skip
    for act in wanted:
        assert f'name="act" value="{act}"' in page
    assert page.count('name="csrf" value="token"') == len(wanted) + 2, "every form carries the session's word"
    assert "it is &lt;better&gt;" in page and "promote 3" in page


def test_nothing_in_shadow_and_no_model_at_all() -> None:
    page = _page(ModelStanding("m", "s", 1, [1], None, None, False, False, []), told="it was refused")
    assert 'value="drop_former"' not in page and 'value="drop_challenger"' not in page and "it was refused" in page
    assert 'value="challenge"' not in page, "there is no other version"
    assert "No model serves yet" in _page()
