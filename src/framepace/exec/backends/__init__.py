"""The built-in backends: one file each, registered as entry points like anybody's plug-in."""
