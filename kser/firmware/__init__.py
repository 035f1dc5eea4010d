"""Firmware projects for a model, and the serial link to a board."""
