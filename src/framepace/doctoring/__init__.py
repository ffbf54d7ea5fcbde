"""What is set wrong on this machine."""
