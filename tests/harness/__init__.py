"""Real processes for tests: started on free ports, killed, and always ended after the test."""
