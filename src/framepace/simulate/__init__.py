"""The simulated device: a GPU and the host it hangs on, with truths that are known."""
