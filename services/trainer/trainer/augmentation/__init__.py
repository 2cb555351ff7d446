"""Image augmentation: random geometry, color, corruption and background replacement, on the CPU or a GPU."""
