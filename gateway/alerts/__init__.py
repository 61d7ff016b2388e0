"""Alerts in OpenSearch: index, retention, search."""
