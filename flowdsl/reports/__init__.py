"""Reports: what a result says about volume, recipients and payloads, as text and HTML."""
