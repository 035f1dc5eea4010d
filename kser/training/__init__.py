"""From a corpus' features to a finished run directory and its scores."""
