"""The Open Inference Protocol as bytes and messages."""
