"""Training: examples and their pixels, augmentation, the network and its loss, the one loop, and what ends a run."""
