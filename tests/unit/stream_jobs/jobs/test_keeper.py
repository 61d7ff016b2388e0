"""What the keeper does about the jobs it finds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import PartError
from stream_jobs import plan
from stream_jobs.jobs import keeper, wanted


def job(name: str, state: str = "RUNNING", start: int = 1, running: int = 1) -> dict[str, Any]:
    return {
        "jid": f"{name}-{start}", "name": name, "state": state, "start-time": start,
        "tasks": {"total": 1, "running": running},
    }  # fmt: skip


def steps(*listed: dict[str, Any]) -> keeper.Steps:
    return keeper.steps(listed, ["p.a", "p.b"], "p.")


def test_missing_jobs_are_submitted() -> None:
    assert steps(job("p.a")) == keeper.Steps((), ("p.b",), False)


@pytest.mark.parametrize("state", ["FAILED", "CANCELED", "FINISHED"])
def test_a_job_that_ended_is_missing(state: str) -> None:
    assert steps(job("p.a"), job("p.b", state)).submit == ("p.b",)


def test_settled_only_when_every_task_runs() -> None:
    assert steps(job("p.a"), job("p.b")) == keeper.Steps((), (), True)
    assert not steps(job("p.a"), job("p.b", running=0)).settled
    assert not steps(job("p.a"), job("p.b", "RESTARTING")).settled


def test_of_two_jobs_with_one_name_the_older_stays() -> None:
    found = steps(job("p.a", start=2), job("p.a", start=1), job("p.b"))
    assert found == keeper.Steps(("p.a-2",), (), False)


def test_nothing_is_submitted_while_an_unwanted_job_still_ends() -> None:
    assert steps(job("p.old"), job("p.a")) == keeper.Steps(("p.old-1",), (), False)
    assert steps(job("p.old", "CANCELLING"), job("p.a")) == keeper.Steps((), (), False)


def test_jobs_of_others_are_left_alone() -> None:
    assert steps(job("other"), job("p.a"), job("p.b")) == keeper.Steps((), (), True)


def _job(folder: Path) -> wanted.Job:
    view = plan.View("v", 1, "s", "t", "in", "out", "e", ("k",), "id", "at", (), (), "SELECT", "")
    return wanted.Job("p.v", view, folder)


def _checkpoint(folder: Path, name: str, at: int, content: str = "x") -> Path:
    path = folder / name
    path.mkdir(parents=True)
    (path / "_metadata").write_text(content)
    os.utime(path / "_metadata", ns=(at, at))
    return path


def test_a_job_goes_on_from_its_newest_complete_checkpoint(tmp_path: Path) -> None:
    _checkpoint(tmp_path, "a/chk-9", 10)
    newest = _checkpoint(tmp_path, "b/chk-1", 20)
    _checkpoint(tmp_path, "b/chk-2", 30, "")
    (tmp_path / "b/chk-3").mkdir()
    assert keeper.Restores().choose(_job(tmp_path), failed=False) == newest


def test_a_checkpoint_a_job_failed_on_is_not_tried_again(tmp_path: Path) -> None:
    restores = keeper.Restores()
    first = _checkpoint(tmp_path, "a/chk-1", 10)
    assert restores.choose(_job(tmp_path), failed=False) == first
    assert restores.choose(_job(tmp_path), failed=True) is None
    later = _checkpoint(tmp_path, "b/chk-1", 20)
    assert restores.choose(_job(tmp_path), failed=False) == later


def test_another_script_of_a_view_is_another_job_with_other_checkpoints(tmp_path: Path) -> None:
    def only(sql: str) -> wanted.Job:
        view = plan.View("v", 1, "s", "t", "in", "out", "e", ("k",), "id", "at", (), (), sql, "")
        (found,) = wanted.jobs(plan.Plan("x", (), (view,), ()), "main", tmp_path).values()
        return found

    assert only("a") == only("a")
    assert only("a").name != only("b").name
    assert only("a").checkpoints != only("b").checkpoints


def test_edits_topics_must_have_the_partitions_that_markers_are_addressed_to(tmp_path: Path) -> None:
    keeper.check_partitions({"out": 2}, [_job(tmp_path)], 2)
    with pytest.raises(PartError, match="out has 1 partitions"):
        keeper.check_partitions({"out": 1}, [_job(tmp_path)], 2)
