"""Fetches images from URLs and delivers webhooks; decides which URLs may be reached."""
