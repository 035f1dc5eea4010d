"""Reading and writing .tflite files, and the interpreters that run them."""
