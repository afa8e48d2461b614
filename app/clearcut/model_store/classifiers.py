"""Downloads of classifiers: a TensorFlow.js model from an npm package, converted to ONNX."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from clearcut.errors import StartupError
from clearcut.inference.manifest_schema import ClassifierTable, Pin
from clearcut.inference.model_files import write_pin
from clearcut.inference.moderation import check_classifier

from .errors import DownloadError
from .npm import Package, fetch_tarball
from .packages import store
from .progress import ProgressBar
from .tarball import read_files
from .tfjs import ModelFormatError, parse_topology, parse_weights


def pull_classifier(name: str, table: ClassifierTable, path: Path, registry: str) -> None:
    """Download the package of a classifier, convert it, compare its scores with the manifest's, and store and pin it.

    Args:
        name: of the classifier.
        table: of the manifest.
        path: of the ONNX file.
        registry: base URL of the registry; empty asks the npm client.

    Raises:
        StartupError: the package cannot be downloaded or converted, ``onnx`` is not installed, or the scores differ.
    """
    if importlib.util.find_spec("onnx") is None:
        raise StartupError(f"model '{name}' is converted to ONNX: install the 'models' extra, or `pip install onnx`")
    path.parent.mkdir(parents=True, exist_ok=True)
    package = Package.parse(table.package.name)
    bar = ProgressBar(package.file_name)
    try:
        tarball = fetch_tarball(package, table.package.integrity, path.parent, registry, bar)
        files = read_files(tarball, {table.package.topology, *table.package.weights})
    except DownloadError as exc:
        raise StartupError(f"model '{name}' cannot be downloaded: {exc}") from exc
    finally:
        bar.end()
    tarball.unlink()
    data = _convert(name, table, files)
    check_classifier(name, table, data)
    store(path, data)
    write_pin(path, Pin(sha256=hashlib.sha256(data).hexdigest()))


def _convert(name: str, table: ClassifierTable, files: dict[str, bytes]) -> bytes:
    from .onnx_export import to_onnx  # needs the 'models' extra

    try:
        topology = parse_topology(files[table.package.topology])
        modules = [files[each] for each in table.package.weights]
        weights = parse_weights(topology["weightsManifest"], modules)
        return to_onnx(topology["modelTopology"], weights, "scores")
    except (ModelFormatError, KeyError) as exc:
        raise StartupError(f"model '{name}': {table.package.name} cannot be converted: {exc}") from exc
