"""Design event flows in Python, replay them over history, and ship them to production."""
