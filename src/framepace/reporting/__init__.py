"""Reporting: facts become a view-model, and that becomes terminal output, JSON or HTML."""
