"""Whether a model still answers right."""
