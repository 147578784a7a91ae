"""Results of replays: recording, storage and tables."""
