"""What can go wrong between a training set and a served model."""

from __future__ import annotations

from appliance.errors import ApplianceError


class RecipeError(ApplianceError):
    """The scenario's recipe cannot be used."""


class TrainingSetError(ApplianceError):
    """The training set cannot be built, or holds too little to train or to judge a model."""


class TrainingError(ApplianceError):
    """The training process failed."""


class RegistryError(ApplianceError):
    """A model or version that is not there, or a state that does not allow what is asked."""


class JobError(ApplianceError):
    """A job that is not there, or cannot be run or cancelled."""


class GateError(ApplianceError):
    """A candidate that must not be promoted."""


class DeploymentError(ApplianceError):
    """Triton does not serve the version as it should; what was served before is served again."""
