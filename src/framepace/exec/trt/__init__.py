"""TensorRT: which library it is, building engines, and reading what is in them."""
