"""Two results side by side, and many variants of a flow over one log."""
