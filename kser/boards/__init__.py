"""What microcontroller boards have, and whether a model runs there: ops, memory, time."""
