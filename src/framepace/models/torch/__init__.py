"""PyTorch's files and networks, read without unpickling anything."""
