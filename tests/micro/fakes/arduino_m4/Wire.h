// The Arduino library of TensorFlow Lite Micro includes it and uses nothing of it.
