"""Admission control: request slots, the pixel budget, and memory for responses that are being sent."""
