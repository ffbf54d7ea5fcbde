"""Models as files: what is in them, what goes in, how much they compute."""
