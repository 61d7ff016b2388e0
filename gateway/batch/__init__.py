"""Scoring a whole table or file at low priority: ``appliance score``."""
