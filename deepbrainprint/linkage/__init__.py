"""Evidence to verdict: whose brain it is."""
