"""Pictures: files, live streams, their preparation, and their transfer between processes."""
