"""The trainer's jobs, a module for each kind."""
