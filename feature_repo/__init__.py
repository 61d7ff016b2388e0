"""The Feast repository: the only folder a scenario's author edits."""
