"""The ``marker`` process: says in every partition of every captured topic how far its source has been read."""
