"""TensorRT, versions 8 to RTX."""
