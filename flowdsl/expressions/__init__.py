"""The two expression languages of flows, conditions and templates, evaluated over columns of JSON values."""
