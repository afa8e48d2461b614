"""Cut-outs of ready-made 3D models with exact alpha: furniture, appliances, plants, vehicles, some people.

    apt-get download sweethome3d-furniture && dpkg-deb -x sweethome3d-furniture_*.deb FOLDER
    python -m models.training.synth_catalogue --models FOLDER --views 3 --out models/training/runs/catalogue

Renders about 800 models of Sweet Home 3D, CC BY 3.0 or CC0 (``CREDITS.md`` names their authors) with VTK, which reads
nearly all of their materials and is twelve times faster than a path tracer. Composition adds floor, shadow and light
later, as for every cut-out. Each view is rendered on black and on white, so that alpha is exact for glass too (A. R.
Smith and J. F. Blinn, Blue Screen Matting, SIGGRAPH 1996). Needs ``requirements-synth.in``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from . import charts
from .augment import U8, Rng
from .data import PackWriter

SIDE = 1056
"""Rendered at this size and reduced to a third: nine samples per pixel."""
UNREADABLE = {"Scopia#islandBath"}
"""VTK's importer crashes on this model."""


def entries(archive: zipfile.ZipFile) -> Iterator[tuple[str, str]]:
    """Yield (id, path of the .obj) of a catalogue's models without doors and windows."""
    table: dict[str, dict[str, str]] = {}
    for line in archive.read("PluginFurnitureCatalog.properties").decode("latin-1").splitlines():
        name, _, value = line.partition("=")
        field, mark, number = name.partition("#")
        if mark and field:
            table.setdefault(number, {})[field.strip()] = value.strip()
    for row in table.values():
        path = row.get("model", "").lstrip("/")
        if path.endswith(".obj") and row.get("doorOrWindow") != "true" and row["id"] not in UNREADABLE:
            yield row["id"], path


class Stage:
    """One off-screen window. ``draw`` renders one model in it."""

    def __init__(self) -> None:
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.SetSize(SIDE, SIDE)

    def draw(self, model: Path, views: int, rng: Rng) -> Iterator[tuple[U8, U8]]:
        """Yield ``views`` images as (rgb u8[H,W,3], alpha u8[H,W]), cropped to the object with a small margin."""
        scene = vtk.vtkRenderer()
        self._window.AddRenderer(scene)
        loader = vtk.vtkOBJImporter()
        loader.SetFileName(str(model))
        if model.with_suffix(".mtl").exists():
            loader.SetFileNameMTL(str(model.with_suffix(".mtl")))
        loader.SetTexturePath(str(model.parent))
        loader.SetRenderWindow(self._window)
        loader.Update()
        if any(actor.HasTranslucentPolygonalGeometry() for actor in actors(scene)):
            scene.SetUseDepthPeeling(1)  # several times the cost, so only for glass
            scene.SetMaximumNumberOfPeels(6)
        try:
            for _ in range(views):
                light(scene, rng)
                look(scene, rng)
                made = self._cut_out(scene)
                if made is not None:
                    yield made
        finally:
            self._window.RemoveRenderer(scene)

    def _shot(self, scene: vtk.vtkRenderer, gray: float) -> np.ndarray:
        scene.SetBackground(gray, gray, gray)
        self._window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self._window)
        grab.ReadFrontBufferOff()
        grab.Update()
        flat = vtk_to_numpy(grab.GetOutput().GetPointData().GetScalars())
        image = flat.reshape(SIDE, SIDE, -1)[::-1, :, :3].astype(np.float32)
        return cv2.resize(image, (SIDE // 3, SIDE // 3), interpolation=cv2.INTER_AREA)

    def _cut_out(self, scene: vtk.vtkRenderer) -> tuple[U8, U8] | None:
        black, white = self._shot(scene, 0.0), self._shot(scene, 1.0)
        alpha = np.clip(1 - (white - black).mean(2) / 255, 0, 1)
        alpha[alpha < 0.004] = 0
        ys, xs = np.flatnonzero((alpha > 0.06).any(1)), np.flatnonzero((alpha > 0.06).any(0))
        if len(ys) < 40 or len(xs) < 40 or (alpha > 0.5).mean() < 0.01:
            return None
        window = np.s_[max(0, ys[0] - 4) : ys[-1] + 5, max(0, xs[0] - 4) : xs[-1] + 5]
        alpha, black = alpha[window], black[window]
        rgb = np.clip(black / np.maximum(alpha[..., None], 0.05), 0, 255)
        return rgb.astype(np.uint8), (alpha * 255 + 0.5).astype(np.uint8)


def actors(scene: vtk.vtkRenderer) -> Iterator[vtk.vtkActor]:
    """Return the rendered parts, one per material."""
    found = scene.GetActors()
    found.InitTraversal()
    while (actor := found.GetNextActor()) is not None:
        yield actor


def light(scene: vtk.vtkRenderer, rng: Rng) -> None:
    """Add one to three lamps and ambient light."""
    scene.RemoveAllLights()
    key = rng.uniform(0.6, 1.0)
    for i in range(int(rng.integers(1, 4))):
        lamp = vtk.vtkLight()
        lamp.SetLightTypeToCameraLight()
        lamp.SetPosition(*(float(v) for v in (rng.normal(0, 0.8), rng.uniform(0, 1.2), 1.0)))
        lamp.SetFocalPoint(0, 0, 0)
        lamp.SetIntensity(key if i == 0 else key * rng.uniform(0.1, 0.5))
        tint = np.clip(1 + rng.normal(0, 0.06, 3), 0.7, 1).tolist()
        lamp.SetDiffuseColor(*tint)
        scene.AddLight(lamp)
    shade, shine = rng.uniform(0.15, 0.45), rng.uniform(0, 0.5)
    ambient = np.clip(1 + rng.normal(0, 0.05, 3), 0.8, 1) * shade
    scene.SetAmbient(*ambient.tolist())
    for actor in actors(scene):
        look_of = actor.GetProperty()
        look_of.SetInterpolationToPhong()
        look_of.SetAmbient(shade)
        look_of.SetAmbientColor(look_of.GetDiffuseColor())
        look_of.SetSpecular(shine)
        look_of.SetSpecularPower(rng.uniform(5, 60))


def look(scene: vtk.vtkRenderer, rng: Rng) -> None:
    """Return a camera around the object, mostly slightly above it (the models' y axis points up)."""
    low_high = np.array(scene.ComputeVisiblePropBounds()).reshape(3, 2)
    center, size = low_high.mean(1), float(np.linalg.norm(low_high[:, 1] - low_high[:, 0]))
    turn, tilt = rng.uniform(-1.2, 1.2) if rng.random() < 0.8 else rng.uniform(-np.pi, np.pi), rng.uniform(0.02, 0.7)
    distance = size * rng.uniform(1.1, 2.5)
    way = np.array([np.sin(turn) * np.cos(tilt), np.sin(tilt), np.cos(turn) * np.cos(tilt)])
    eye = scene.GetActiveCamera()
    eye.SetFocalPoint(*center)
    eye.SetPosition(*(center + distance * way))
    eye.SetViewUp(0, 1, 0)
    eye.SetViewAngle(float(np.rad2deg(2 * np.arctan(0.55 * size / distance))))
    scene.ResetCameraClippingRange()


def main() -> None:
    """Render every model and a sheet."""
    parser = argparse.ArgumentParser(description="Cut-outs of ready-made 3D models.")
    parser.add_argument("--models", type=Path, required=True, help="folder under which the .sh3f catalogues lie")
    parser.add_argument("--views", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most", type=int, default=10**9, help="models, for a trial")
    parser.add_argument("--out", type=Path, default=Path("models/training/runs/catalogue"))
    args = parser.parse_args()
    writer, shown, start, done = PackWriter(args.out, hold_out=False), [], time.monotonic(), 0
    stage = Stage()
    for catalogue in sorted(args.models.rglob("*.sh3f")):
        with zipfile.ZipFile(catalogue) as archive, tempfile.TemporaryDirectory() as folder:
            archive.extractall(folder)
            for number, (name, path) in enumerate(entries(archive)):
                if done >= args.most:
                    break
                rng = np.random.default_rng((args.seed, done))
                for view, (rgb, alpha) in enumerate(stage.draw(Path(folder, path), args.views, rng)):
                    stem = f"catalogue_{args.seed}_{name.replace('#', '_')}_{number}_{view}"
                    writer.add(rgb, alpha, stem, "sweethome3d", "cutout")
                    if view == 0 and done % 7 == 0:
                        shown.append((rgb, alpha))
                done += 1
                if done % 50 == 0:  # the importer may crash on a file; the pack so far stays usable
                    writer.save_index()
                    print(f"{done}: {(time.monotonic() - start) / done:.2f} s a model", flush=True)
    writer.close()
    on_gray = [(f * (a[..., None] / 255.0) + 160 * (1 - a[..., None] / 255.0)).astype(np.uint8) for f, a in shown]
    rows = [on_gray[i : i + 14] for i in range(0, len(on_gray), 14)]
    charts.sheet(args.out.with_suffix(".png"), rows, 110)


if __name__ == "__main__":
    main()
