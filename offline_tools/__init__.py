"""Prepare data, train, judge and export networks: the only home of torch."""
