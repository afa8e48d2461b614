"""Memory of the largest load that the settings permit, for the start-up check."""

from __future__ import annotations

from dataclasses import dataclass

from clearcut.admission.memory_budget import BYTES_PER_PIXEL, pixel_capacity
from clearcut.admission.transfers import TRANSFERS_DIVISOR
from clearcut.settings import MIB, Settings
from clearcut.web.request.limits import parsing_bytes, request_bytes


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes of each part of the largest load."""

    base: int
    """The process with the model loaded and without requests."""
    largest_image: int
    """One image of the maximum size."""
    images: int
    """All images that are processed at once."""
    uploads: int
    """Bodies and files of all requests."""
    responses: int
    """Large responses that are being sent."""
    replays: int
    """Stored responses of requests with an Idempotency-Key."""

    @property
    def total(self) -> int:
        """Sum of all parts."""
        return self.base + self.images + self.uploads + self.responses + self.replays


def estimate_memory(settings: Settings, base: int, limit: int, workers: int) -> MemoryEstimate:
    """Return the memory of the largest load.

    Args:
        settings: the limits of the service.
        base: bytes in use with the model loaded and without requests.
        limit: bytes that the process may use.
        workers: threads that parse bodies.
    """
    largest_image = int(settings.max_megapixels * 1e6) * BYTES_PER_PIXEL
    uploads = settings.slots * request_bytes(settings.max_bytes, fetching=settings.fetch)
    uploads += workers * parsing_bytes(settings.max_bytes)
    if settings.jobs != "off":  # job requests have their own slots, and jobs download images
        from clearcut.jobs.fetch_step import MAX_FETCHES  # needs the 'jobs' extra

        uploads += settings.slots * request_bytes(settings.max_bytes, fetching=False)
        uploads += MAX_FETCHES * settings.max_bytes
    return MemoryEstimate(
        base=base,
        largest_image=largest_image,
        # A request that runs alone may use the pixels of two of the largest images: its input and its output.
        images=max(pixel_capacity(settings, limit) * BYTES_PER_PIXEL, 2 * largest_image),
        uploads=uploads,
        responses=limit // TRANSFERS_DIVISOR,
        replays=settings.replay_mb * MIB,
    )
