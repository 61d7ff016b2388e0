"""Feast's offline store over the lake: point-in-time joins in DuckDB."""
