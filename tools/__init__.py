"""What the Makefile's commands run: set-up, JupyterLab, lessons as HTML, the notebooks' hygiene, the pictures."""
