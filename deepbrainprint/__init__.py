"""Recognises a patient by the brain: links MRI studies to patient records."""
