"""Feast's own test suites against our two stores. See docs/feast.md."""
