"""What happened to one event, step by step."""
