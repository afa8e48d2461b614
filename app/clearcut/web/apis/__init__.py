"""The APIs (dialects), one module each. ``base`` describes the interface; ``clearcut.web.app`` lists the modules."""
