"""A plan on live sources: what it reads, what it delivers, and what it does when there is too much."""
