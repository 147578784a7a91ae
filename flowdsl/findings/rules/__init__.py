"""The rules, one module a theme; `base.rules` reads all of them."""
