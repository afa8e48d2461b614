"""Work that is answered later: accepted now, done when there is room, told by a webhook."""
