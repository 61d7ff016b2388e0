"""From an empty machine to files on disk. Standard library only, until its own environments exist."""
