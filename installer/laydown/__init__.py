"""One file a third-party part: how its verified files become a folder that runs."""
