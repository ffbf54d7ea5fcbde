"""ONNX Runtime on CPUs and GPUs."""
