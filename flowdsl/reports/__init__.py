"""Reports: the volume, recipients and payloads of a result, as text and HTML."""
