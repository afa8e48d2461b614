"""Files that are kept for a while: the inputs and outputs of jobs, and their signed addresses."""
