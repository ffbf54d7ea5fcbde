"""A plan's sources on several engines, each in a process of its own, on this machine or others."""
