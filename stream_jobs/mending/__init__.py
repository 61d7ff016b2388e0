"""Mending the log of changes: delete edits for rows that went without one (truncate, lost slot, another snapshot)."""
