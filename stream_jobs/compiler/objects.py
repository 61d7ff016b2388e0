"""Collects a scenario's Feast objects from its module ``feature_repo.<scenario>.features``."""

from __future__ import annotations

import importlib
import traceback
import warnings
from dataclasses import dataclass

from feast import Entity, FeatureService, FeatureView, KafkaSource, OnDemandFeatureView, StreamFeatureView

from stream_jobs.errors import CompileError


@dataclass(frozen=True)
class ScenarioObjects:
    """Feast objects by name."""

    entities: dict[str, Entity]
    sources: dict[str, KafkaSource]
    views: dict[str, StreamFeatureView]
    request_views: dict[str, OnDemandFeatureView]
    services: dict[str, FeatureService]


def _place(error: Exception) -> str:
    """``file:line: `` of the author's code that failed, "" where it is not in there."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: "
    frames = [each for each in traceback.extract_tb(error.__traceback__) if "feature_repo" in each.filename]
    return f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""


def collect(scenario: str) -> ScenarioObjects:
    """Raises CompileError when the scenario does not exist, fails, or has a view the appliance cannot compute."""
    module = f"feature_repo.{scenario}.features"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Stream feature views are experimental", category=RuntimeWarning)
        try:
            loaded = importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise CompileError(
                "compile.no_scenario", f"scenario {scenario!r}: {error}", hint=f"its Feast objects belong in {module}"
            ) from error
        except Exception as error:  # the author's own code may raise anything
            raise CompileError(
                "compile.definitions",
                f"the definitions cannot be loaded: {_place(error)}{type(error).__name__}: {error}",
                hint="correct that line; nothing was changed",
            ) from error
    found = ScenarioObjects({}, {}, {}, {}, {})
    for value in vars(loaded).values():
        match value:
            case Entity():
                found.entities[value.name] = value
            case KafkaSource():
                found.sources[value.name] = value
            case StreamFeatureView():
                found.views[value.name] = value
            case OnDemandFeatureView():
                found.request_views[value.name] = value
            case FeatureService():
                found.services[value.name] = value
            case FeatureView():
                raise CompileError(
                    "compile.view_kind",
                    f"view {value.name!r} is a {type(value).__name__}: nothing would compute it",
                    hint="declare it as a StreamFeatureView on a captured table",
                )
    return found
