"""Evaluation of releases on a catalogue, and what a release learns from it: calibration, OOD detector, projection."""
