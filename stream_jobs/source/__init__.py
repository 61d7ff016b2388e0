"""Business databases that are captured: what their administrators must run, the checks, and the connectors."""
