"""Predictions written into a table of the business database (ADR 0028)."""
