"""The parts of the stress benchmark: requests, load and attacks."""
