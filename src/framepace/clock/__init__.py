"""Time: the system's clock, a virtual one, and what a thread used of the machine."""
