"""The column form: templates over many contexts at once."""
