"""The context of this process, from its environment."""

from __future__ import annotations

from appliance import installation, settings
from appliance.layout import Layout
from appliance.parts.base import Context
from appliance.secrets import Secrets


def current() -> Context:
    """Context of the appliance that ``APPLIANCE_HOME`` (or the system layout) names.

    Raises PartError if nothing is installed there and SettingError if a setting cannot be used.
    """
    layout = Layout.current()
    return Context(layout, installation.read(layout), settings.load(layout.settings_file), Secrets(layout.secrets))
