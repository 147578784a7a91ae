"""YAML documents: reading, checking, editing and writing them, and production's own rules for them."""
