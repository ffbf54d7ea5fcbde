"""The commands: options to a library call to a renderer."""
