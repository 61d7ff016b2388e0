"""What runs: settings, parts, access and the `appliance` command. Knows no scenario."""
