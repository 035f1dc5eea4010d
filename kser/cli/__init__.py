"""One module per command: flags to settings, one library call, one printed block."""
