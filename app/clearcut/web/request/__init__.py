"""Reading requests: bodies, forms, JSON, fields."""
