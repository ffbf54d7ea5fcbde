"""A plan behind the Open Inference Protocol."""
