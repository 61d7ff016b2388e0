"""Change log to edits to stores: the window algebra, the compiler, the writers, Feast's stores of ours."""
