"""framepace: why a neural network on video misses its frame budget, proven by intervention, and fixed."""

__version__ = "0.1.0"
