"""Reading requests: bodies, forms, JSON and option fields."""
