"""Pictures on a device: what is in them, and the kernel that makes a model's input of them."""
