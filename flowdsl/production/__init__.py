"""What production understands: flows as YAML, read strictly."""
