"""The model: from slices of an aligned brain to a fingerprint."""
