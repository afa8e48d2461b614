"""Blob stores for the inputs and outputs of jobs, and signed URLs of outputs."""
