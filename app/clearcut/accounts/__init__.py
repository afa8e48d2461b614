"""Who may enter and how much: slots, pixel budget, keys and quotas."""
