"""What is inside a .tflite file, and the interpreters that run it."""
