"""Telling: facts to a view-model, and that to terminal, JSON and HTML."""
