"""What is drawn in Chromium: in JupyterLab, in marimo, and of files."""
