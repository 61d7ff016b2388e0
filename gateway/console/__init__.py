"""The console: login and one page."""
