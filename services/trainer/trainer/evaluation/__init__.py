"""Evaluation of releases on a catalogue: what is asked, what is searched, how, and what came of it."""
