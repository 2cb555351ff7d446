"""The demo catalogue: drawings of garments on a light background, with fabric, soft light and shadow."""
