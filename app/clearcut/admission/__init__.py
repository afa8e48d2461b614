"""Admission of requests: slots, the pixel budget, and memory of responses in transfer."""
