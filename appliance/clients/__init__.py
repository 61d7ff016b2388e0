"""Connections to the parts, each with the credentials of the user that the calling process is."""
