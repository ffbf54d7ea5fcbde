"""The simulated device: a pure model of a GPU and its host in virtual time, whose truth is known."""
