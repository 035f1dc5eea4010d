"""From a model to a firmware project, and the serial link to the board that runs it."""
