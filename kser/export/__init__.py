"""From a trained network to an int8 .tflite file: fold, rewrites, quantization, conversion, numerical proofs."""
