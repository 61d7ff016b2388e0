"""The lake: every change of every captured table, each table's current state, and the ledger of predictions (Delta)."""
