"""Training: from the features of a corpus to a finished run directory and its scores."""
