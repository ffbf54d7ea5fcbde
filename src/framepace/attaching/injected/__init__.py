"""What runs inside of the observed program: the standard library only, for its environment is not ours."""
