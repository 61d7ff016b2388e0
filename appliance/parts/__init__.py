"""One file a part, the same verbs for all."""
