"""Backbones as flat Keras graphs of leaf layers, HRF, and presets (named sizes)."""
