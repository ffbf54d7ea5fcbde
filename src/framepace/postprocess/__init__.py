"""From the outputs of known families of networks to boxes, classes, texts and masks."""
