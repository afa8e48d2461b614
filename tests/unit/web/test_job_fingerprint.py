"""The fingerprint of a job request, by which the queue recognizes a repeated request."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from clearcut.imaging.options import RemoveOptions
from clearcut.web.job_handler import JobRequest, _fingerprint

REQUEST = JobRequest(RemoveOptions(), "image_url", url="https://a.example/b.jpg", model="a")


def test_fingerprint_of_earlier_versions_is_unchanged():
    content = ("/p", REQUEST.options, "image_url", REQUEST.url, None, "a", False)
    assert _fingerprint("/p", REQUEST) == hashlib.sha256(repr(content).encode()).hexdigest()


def test_served_model_changes_the_fingerprint():
    models = (None, "clearcut-m", "clearcut-s")
    assert len({_fingerprint("/p", replace(REQUEST, served_model=model)) for model in models}) == 3
