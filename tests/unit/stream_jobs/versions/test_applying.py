"""What apply does to the plan file, with Kafka and Feast's registry as stand-ins."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from appliance.clients import kafka
from appliance.installation import Installation
from appliance.layout import Layout
from appliance.parts.base import Context
from appliance.secrets import Secrets
from appliance.settings import Settings
from stream_jobs import feast_command, plan
from stream_jobs.compiler.definition import Versions, versions_file
from stream_jobs.errors import CompileError, VersionError
from stream_jobs.versions import applying, forecast, holder

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    layout = Layout.below(tmp_path)
    installed = Installation("0", 40000, "appliance", "main", "card_fraud", "", {}, {})
    monkeypatch.setattr(kafka, "ensure_topics", lambda *_: [])
    monkeypatch.setattr(forecast, "offsets", lambda *_: {0: (0, 5)})
    monkeypatch.setattr(feast_command, "apply", lambda _: None)
    return Context(layout, installed, Settings(), Secrets(layout.secrets))


def test_the_first_apply_is_in_effect_and_the_second_changes_nothing(context: Context) -> None:
    changes, made = applying.apply(context)
    assert {change.kind for change in changes} == {"new"}
    assert plan.read(context.layout.plan_file) == made and made.coming == () and len(made.views) == 2
    written = context.layout.plan_file.stat().st_mtime_ns
    again, same = applying.apply(context)
    assert {change.kind for change in again} == {"unchanged"} and same == made
    assert context.layout.plan_file.stat().st_mtime_ns == written


def test_a_changed_definition_is_filled_beside_the_present_one(context: Context) -> None:
    _, made = applying.apply(context)
    other = replace(made.views[0], version=7, definition_hash="other", edits_topic="main.edits.customer_payments.v7")
    plan.write(replace(made, views=(other, *made.views[1:])), context.layout.plan_file)
    _, begun = applying.apply(context)
    assert begun.views[0] == other and begun.coming == (made.views[0],)
    assert begun.coming_services == made.services


def test_when_feast_refuses_nothing_is_changed(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Context) -> None:
        raise CompileError("compile.feast", "no")

    monkeypatch.setattr(feast_command, "apply", refuse)
    with pytest.raises(CompileError):
        applying.apply(context)
    assert not context.layout.plan_file.exists() and not versions_file(context).exists()


def test_only_one_process_changes_the_plan(context: Context) -> None:
    with holder.alone(context), pytest.raises(VersionError, match="another process"):
        applying.apply(context)


def test_a_dropped_version_number_is_never_given_again(context: Context) -> None:
    versions = Versions(versions_file(context))
    assert (versions.version("v", "a"), versions.version("v", "b")) == (1, 2)
    versions.forget("v", 2)
    versions.save()
    again = Versions(versions_file(context))
    assert (again.version("v", "a"), again.version("v", "b"), again.version("v", "c")) == (1, 3, 4)
