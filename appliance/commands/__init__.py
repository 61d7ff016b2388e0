"""Verbs of the `appliance` command that the base itself offers."""
