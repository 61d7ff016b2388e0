"""Opens Feast's feature store of the appliance: its repository, with the registry's address and password filled in."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING
from urllib.parse import quote

from appliance.parts.base import Context
from appliance.ports import Port

if TYPE_CHECKING:
    from feast import FeatureStore


def environment(context: Context) -> dict[str, str]:
    """The variables that ``feature_repo/feature_store.yaml`` names. Holds the registry's password."""
    return {
        "APPLIANCE_FEAST_PASSWORD": quote(context.secrets.get("postgres.feast"), safe=""),
        "APPLIANCE_FEAST_PORT": str(context.port(Port.POSTGRES)),
    }


def feature_store(context: Context) -> FeatureStore:
    """The store, for reading. Feast fills in its configuration from this process's environment."""
    warnings.filterwarnings("ignore", message="Stream feature views are experimental", category=RuntimeWarning)
    from feast import FeatureStore  # takes seconds to import

    os.environ |= {**environment(context), "FEAST_USAGE": "False"}
    return FeatureStore(repo_path=str(context.layout.code / "feature_repo"))
