"""Models rewritten: preparation folded in, lower precision."""
