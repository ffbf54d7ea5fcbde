"""The simulated device: a GPU and its host, with known parameters."""
