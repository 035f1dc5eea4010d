"""The largest network that fits a board."""
