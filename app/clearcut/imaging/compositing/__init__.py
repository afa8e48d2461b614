"""Compositing: backgrounds, shadows and blending."""
