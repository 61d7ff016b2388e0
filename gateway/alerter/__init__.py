"""The process that files alerts and counts predictions."""
