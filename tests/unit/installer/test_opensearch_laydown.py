"""The security plugin's descriptor is changed in one line, and only when it is the one we know."""

from __future__ import annotations

import pytest

from installer.laydown import opensearch

_SHIPPED = "name=opensearch-security\nextended.plugins=workload-management;optional=true,rule-framework\nx=1\n"


def test_rule_framework_becomes_optional() -> None:
    got = opensearch.without_rule_framework(_SHIPPED)
    assert "extended.plugins=workload-management;optional=true,rule-framework;optional=true\n" in got
    assert got.replace("rule-framework;optional=true", "rule-framework") == _SHIPPED


def test_another_descriptor_is_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        opensearch.without_rule_framework("extended.plugins=something-else\n")


def test_descriptor_names_class_and_version() -> None:
    for module in opensearch._MODULES:
        lines = dict(line.split("=", 1) for line in opensearch.descriptor(module).splitlines())
        assert lines["classname"].startswith("org.opensearch.")
        assert lines["opensearch.version"] == opensearch.VERSION
        assert lines["name"] == module.name
