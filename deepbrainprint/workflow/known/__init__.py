"""Scans whose person is known: listed in a manifest, aligned as in service, kept by digest."""
