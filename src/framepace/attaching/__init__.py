"""Observing a program that somebody else wrote: started unchanged, its libraries' calls timed from inside."""
