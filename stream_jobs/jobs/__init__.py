"""The ``flink-jobs`` process: keeps one Flink job a view version running."""
