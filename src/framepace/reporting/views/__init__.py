"""View-models: facts as rows of text."""
