"""The parts of the embedder's benchmark: what is prepared, the processes that are measured, and the tables."""
