"""Pictures by address, and calls to addresses that callers name: which of them may be reached, and how."""
