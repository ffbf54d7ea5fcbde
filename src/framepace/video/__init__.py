"""Pictures: files, live streams, their preparation, and their way between processes."""
