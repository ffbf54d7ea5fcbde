"""The protocol from the side of who asks: addresses of models, connections, questions and inferences."""
