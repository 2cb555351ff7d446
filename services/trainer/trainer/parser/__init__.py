"""Training of a parser of garments from outlined photographs."""
