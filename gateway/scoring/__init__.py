"""One scorer for the three ways in."""
