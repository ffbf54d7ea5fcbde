"""The documents: links, commands, the reference and the site."""
