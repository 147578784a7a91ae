"""What people meet who write flows in an editor, asked of the server that editors ask."""
