"""Fetches studies from a PACS: by C-FIND and C-GET or C-MOVE, or by QIDO-RS and WADO-RS."""
