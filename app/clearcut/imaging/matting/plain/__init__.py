"""Mattes of images with a plain background: its color shows where the subject is."""
