"""Properties of microcontroller boards, and whether a model runs on them: ops, memory, time."""
