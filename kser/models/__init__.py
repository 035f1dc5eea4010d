"""Backbones as flat Keras graphs of leaf layers, HRF among them, and the presets that size them."""
