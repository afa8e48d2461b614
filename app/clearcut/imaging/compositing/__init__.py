"""Backgrounds, shadows and blending."""
