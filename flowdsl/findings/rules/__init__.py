"""Rules, one module for each theme; `base.rules` imports all of them."""
