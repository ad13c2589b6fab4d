"""Judge exported networks against labels, and report."""
