"""Search for the largest network that fits a board."""
