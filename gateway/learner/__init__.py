"""Versions in shadow score what the champion has scored; and the learning loop's rounds are started."""
