"""Seeded generators of event tables and graphs; the same arguments always give the same rows."""
