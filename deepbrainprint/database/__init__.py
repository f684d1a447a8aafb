"""The memory: the only place that talks to PostgreSQL."""
