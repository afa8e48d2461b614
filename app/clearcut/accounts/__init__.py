"""Accounts: API keys, credits, prices, rate limits, and responses stored for an Idempotency-Key."""
