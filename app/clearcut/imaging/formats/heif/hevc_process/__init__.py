"""The program that decodes HEVC in a confined process. It imports the standard library only, so that it starts fast."""
