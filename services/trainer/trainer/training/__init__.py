"""Training: model, losses, optimizer, the training loop, and publishing of the result."""
