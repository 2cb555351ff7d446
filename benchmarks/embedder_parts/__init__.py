"""The parts of the embedder benchmark."""
