"""What the network sees: the mixture of sources, and how one sample of each kind is made.

Sample ``i`` depends on the seed and on ``i`` alone, so a resumed run sees exactly the samples an
unbroken one would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from . import augment, drawn, heaps, scenes, shapes
from .augment import U8, Rng
from .data import Pool, alpha_box


@dataclass(frozen=True, slots=True)
class Mixture:
    """Shares of the kinds of samples (they are normalized) and weights of sources within."""

    photo: float = 0.28
    pseudo: float = 0.26
    composite: float = 0.38
    negative: float = 0.08
    render: float = 0.0
    plain: float = 0.0
    """Any photograph, as a teacher sees it: its label is not used."""
    drawn: float = 0.0
    """Drawn families with exact mattes."""
    close_up: float = 0.0
    """Share of the photos, composites and drawn images of which only the subject's surroundings are shown."""
    beside: float = 0.0
    """Share of the images without a subject that show a part of a labeled photo beside its subject."""
    source_weight: dict[str, float] = field(default_factory=dict)


class Sampler:
    """Draws training (or held-out) samples from a packed pool."""

    def __init__(
        self,
        pool: Pool,
        mixture: Mixture,
        *,
        held_out: bool = False,
        seed: int = 0,
        reach: tuple[float, float] = (0.25, 1.35),
    ):
        """``reach``: sizes of a pasted object, of the image's side."""
        self._pool = pool
        self._seed = seed
        self._held_out = held_out
        self._mixture = mixture
        self._reach = reach
        pick = lambda kind: pool.select(held_out=held_out, kind=kind)  # noqa: E731
        self._lists = {kind: pick(kind) for kind in ("photo", "pseudo", "cutout", "background", "backdrop", "render")}
        # Objects to paste: keyed cut-outs first; labeled ones are a little ragged at the rim.
        self._lists["object"] = [i for k in ("cutout", "render", "pseudo", "photo") for i in self._lists[k]]
        self._lists["object"] = [i for i in self._lists["object"] if pool.records[i].weight == 1]
        self._lists["furniture"] = [i for i in self._lists["object"] if pool.records[i].source == "sweethome3d"]
        self._lists["front"] = [i for i in self._lists["object"] if pool.records[i].source != "sweethome3d"]
        self._lists["plain"] = [i for k in ("photo", "pseudo", "background", "backdrop") for i in self._lists[k]]
        self._odds = {kind: self._weights(items, kind) for kind, items in self._lists.items()}
        kinds = ("photo", "pseudo", "composite", "negative", "render", "plain", "drawn")
        shares = np.array([getattr(mixture, kind) for kind in kinds])
        self._kinds, self._shares = kinds, shares / shares.sum()

    def _weights(self, items: Sequence[int], kind: str) -> np.ndarray:
        table = self._mixture.source_weight
        odds = np.array([table.get(self._pool.records[i].source, 1.0) for i in items])
        if kind in ("object", "front"):
            odds *= [3.0 if self._pool.records[i].kind in ("cutout", "render") else 1.0 for i in items]
        return odds.cumsum() / max(odds.sum(), 1e-9)

    def _draw(self, kind: str, rng: Rng) -> int:
        if not self._lists[kind]:  # a pool without teacher labels has no backdrops
            kind = "background"
        items = self._lists[kind]
        return items[min(int(np.searchsorted(self._odds[kind], rng.random())), len(items) - 1)]

    def _begin(self, index: int) -> tuple[Rng, str]:
        rng = np.random.default_rng((self._seed, index))
        return rng, self._kinds[rng.choice(len(self._kinds), p=self._shares)]

    def kind(self, index: int) -> str:
        """Of which kind sample ``index`` is, by the names in ``Mixture``."""
        return self._begin(index)[1]

    def __call__(self, index: int, size: int) -> tuple[U8, U8]:
        """Sample ``index`` as (rgb u8[S,S,3], matte u8[S,S]); the matte of a plain one says nothing."""
        return self.weighted(index, size)[:2]

    def weighted(self, index: int, size: int) -> tuple[U8, U8, float]:
        """Sample ``index`` as (rgb u8[S,S,3], matte u8[S,S], weight of its loss)."""
        rng, kind = self._begin(index)
        weight = 1.0
        if kind == "composite":
            rgb, alpha = self._close_up(*self._composite(size, rng), rng)
        elif kind == "negative":
            (rgb, weight), alpha = self._negative(size, rng), np.zeros((size, size), np.uint8)
        elif kind == "plain":
            rgb, alpha = self._plain(size, rng), np.zeros((size, size), np.uint8)
        elif kind == "drawn":
            photo, cutout = (lambda: self._background(size, rng, "plain")), (lambda: self._cutout(size, rng))
            rgb, alpha, _ = drawn.sample(drawn.Pen(size, rng, self._held_out, photo, cutout))
            rgb, alpha = self._close_up(rgb, alpha, rng)
            if rng.random() < 0.5:  # most drawn images are clean, as on the web
                return rgb, alpha, weight
        else:
            picked = self._draw(kind, rng)
            rgba, low = self._pool[picked], 0.55
            if self._mixture.close_up and rng.random() < self._mixture.close_up:
                rgba, low = augment.close_up(rgba, self._pool.records[picked].box, rng), 0.9
            rgba = augment.view(rgba, size, rng, low=low)
            rgb, alpha, weight = np.ascontiguousarray(rgba[..., :3]), rgba[..., 3], self._pool.records[picked].weight
        return augment.relight(rgb, rng), np.ascontiguousarray(alpha), weight

    def _close_up(self, rgb: U8, alpha: U8, rng: Rng) -> tuple[U8, U8]:
        """Show only the subject's surroundings in the mixture's share of the samples; rgb u8[S,S,3], alpha u8[S,S]."""
        if not self._mixture.close_up or rng.random() >= self._mixture.close_up:
            return rgb, alpha
        part = augment.close_up(np.dstack([rgb, alpha]), alpha_box(alpha), rng)
        part = cv2.resize(part, alpha.shape[::-1], interpolation=cv2.INTER_LINEAR).astype(np.uint8)
        return np.ascontiguousarray(part[..., :3]), np.ascontiguousarray(part[..., 3])

    def _cutout(self, size: int, rng: Rng) -> U8:
        """One keyed or rendered object at its place, u8[S,S,4]."""
        index = self._draw("object", rng)
        return augment.place(self._pool[index], self._pool.records[index].box, size, rng, reach=(0.35, 0.9))

    def _cropped_cutout(self, rng: Rng) -> U8:
        """One object without the empty border, u8[H,W,4]."""
        index = self._draw("object", rng)
        left, top, right, bottom = self._pool.records[index].box
        return self._pool[index][top:bottom, left:right]

    def _background(self, size: int, rng: Rng, kind: str = "background") -> U8:
        """A random view of a background photograph, u8[S,S,3]."""
        rgba = augment.view(self._pool[self._draw(kind, rng)], size, rng, low=0.3)
        return np.ascontiguousarray(rgba[..., :3])

    def _negative(self, size: int, rng: Rng) -> tuple[U8, float]:
        """An image without a subject and its weight: u8[S,S,3] of a part of a labeled photo, or of scenery.

        Such a part can show another object, so it has half the weight (``HISTORY.md``).
        """
        if self._mixture.beside and rng.random() < self._mixture.beside:
            picked = self._draw("photo", rng)
            part = augment.beside(self._pool[picked], self._pool.records[picked].box, rng)
            if part is not None:
                return np.ascontiguousarray(augment.view(part, size, rng, low=0.7)[..., :3]), 0.5
        return self._scenery(size, rng, empty=True), 1.0

    def _plain(self, size: int, rng: Rng) -> U8:
        """Any photograph or a part of it, sometimes two side by side, u8[S,S,3]."""
        photo = self._background(size, rng, "plain")
        if rng.random() < 0.25:
            cut = int(size * rng.uniform(0.25, 0.75))
            other = self._background(size, rng, "plain")
            side = np.s_[:, cut:] if rng.random() < 0.6 else np.s_[cut:]
            photo[side] = other[side]
        return photo

    def _scenery(self, size: int, rng: Rng, *, empty: bool = False) -> U8:
        """An image without a subject, u8[S,S,3]; ``empty`` when nothing will be set into it.

        An empty image is sometimes a heap (``heaps``). Walls, floors and grounds may borrow stuff from any
        photograph, but not where the image is a negative: a magnified patch may well be a thing seen from close by.
        """
        draw = rng.random()
        if empty and draw > 0.86:
            return heaps.heap(size, rng, lambda: self._cropped_cutout(rng))
        if draw > (0.65 if empty else 0.5):
            stuff = None if empty else self._background(size, rng, "backdrop")
            return scenes.empty_scene(size, rng, stuff)
        photo = self._background(size, rng)
        if draw < 0.08:  # two places in one image, as at a window or a street corner
            cut = int(size * rng.uniform(0.2, 0.8))
            other = self._background(size, rng)
            photo[:, cut:] = other[:, cut:]
        return photo

    def _object(self, size: int, rng: Rng, kind: str = "object") -> U8:
        """One placed object, u8[S,S,4]: from the pool's list ``kind``, or drawn."""
        if rng.random() < 0.2:
            rgba = shapes.shape(size, rng, self._background(size, rng, "backdrop"))
            return augment.place(rgba, (0, 0, size, size), size, rng, reach=self._reach)
        index = self._draw(kind, rng)
        return augment.place(self._pool[index], self._pool.records[index].box, size, rng, reach=self._reach)

    def _composite(self, size: int, rng: Rng) -> tuple[U8, U8]:
        """One to three objects in a scene; over a photograph with a subject both count.

        In a quarter of the scenes rendered furniture is part of the background.
        """
        alpha = np.zeros((size, size, 1), np.float32)
        objects = "object"
        if rng.random() < 0.05:
            rgba = augment.view(self._pool[self._draw("photo" if rng.random() < 0.5 else "pseudo", rng)], size, rng)
            scene = rgba[..., :3].astype(np.float32)
            alpha = rgba[..., 3:].astype(np.float32) / 255
        else:
            blur = rng.uniform(0.8, 5) if rng.random() < 0.25 else 0.0  # shallow depth of field
            if rng.random() < 0.6 or blur > 2:
                behind = self._background(size, rng, "backdrop")
            else:
                behind = self._scenery(size, rng)
            if blur:
                behind = cv2.GaussianBlur(behind, (0, 0), blur).astype(np.uint8)
            scene = behind.astype(np.float32)
            if self._lists["furniture"] and rng.random() < 0.25:
                objects = "front"
                for _ in range(1 + int(rng.random() < 0.4)):
                    scene, _ = augment.merge(scene, alpha, self._object(size, rng, "furniture"), rng)
        for _ in range(1 + int(rng.random() < 0.2) + int(rng.random() < 0.07)):
            scene, alpha = augment.merge(scene, alpha, self._object(size, rng, objects), rng)
        return (np.clip(scene, 0, 255).astype(np.uint8), np.clip(alpha[..., 0] * 255 + 0.5, 0, 255).astype(np.uint8))
