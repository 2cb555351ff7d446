"""Real processes for tests: started on free ports, waited for, killed, and never left behind."""
