"""Feast's objects → the plan file."""
