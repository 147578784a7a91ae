"""What a replay gives: taken down, kept, and put together as tables."""
