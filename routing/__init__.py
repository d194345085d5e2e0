"""Tables and decisions."""
