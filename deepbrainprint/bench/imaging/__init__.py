"""How right and how fast imaging is: measured against known truths, an outsider and peers."""
