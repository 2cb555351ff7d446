"""Drawings of garments: shapes on a canvas, filled with fabric, lit softly, on a light background."""
