"""What could not be filed: kept aside with a reason, looked at, released or discarded."""
