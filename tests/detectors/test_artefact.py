"""A frozen baseline is read only if nothing about it was changed."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from safetensors.numpy import save as save_tensors

from contracts.errors import BaselineError
from detectors import artefact

MANIFEST: dict[str, Any] = {
    "name": "n",
    "kind": "teacher",
    "where": "true",
    "trajectories": 4,
    "calls": 9,
    "trajectories_digest": artefact.trajectories_digest(["a", "b"]),
    "created_ns": 1,
    "subjects": ["e/a/v/m"],
    "rules_digest": "",
    "versions": {},
    "lineage": [],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tensors = {"bias": np.zeros(3), "ids": np.arange(3, dtype=np.uint64)}
    return artefact.save(tmp_path, MANIFEST, {"rung": "rate"}, tensors).folder


def rewrite(folder: Path, name: str, content: bytes) -> None:
    """Change a file and make the manifest agree with it again, as a careful forger would."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / artefact.MANIFEST).read_bytes())
    manifest["files"][name] = hashlib.sha256(content).hexdigest()
    (folder / artefact.MANIFEST).write_bytes(artefact.canonical(manifest))


def test_what_was_saved_is_read_and_its_folder_is_its_digest(folder: Path) -> None:
    read = artefact.load(folder)
    assert read.digest == folder.name
    assert read.tensors["bias"].tolist() == [0.0, 0.0, 0.0]
    info = read.info("x/*")
    assert (info.name, info.kind, info.trajectories, info.active_for) == ("n", "teacher", 4, "x/*")
    assert not list(folder.glob(".*.new"))


def test_equal_content_has_equal_digests(folder: Path, tmp_path: Path) -> None:
    tensors = {"ids": np.arange(3, dtype=np.uint64), "bias": np.zeros(3)}
    turned = dict(reversed(list(MANIFEST.items())))
    again = artefact.save(tmp_path / "other", turned, {"rung": "rate"}, tensors)
    assert again.digest == folder.name


@pytest.mark.parametrize("name", [artefact.DOCUMENT, artefact.WEIGHTS, artefact.MANIFEST])
def test_one_changed_byte_is_refused(folder: Path, name: str) -> None:
    digest = folder.name
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(bytes(content))
    with pytest.raises(BaselineError):
        artefact.load(folder, expected_digest=digest)


@pytest.mark.parametrize("name", [artefact.DOCUMENT, artefact.WEIGHTS, artefact.MANIFEST])
def test_a_missing_or_truncated_file_is_refused(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:10])
    with pytest.raises(BaselineError):
        artefact.load(folder)
    (folder / name).unlink()
    with pytest.raises(BaselineError, match="cannot be read"):
        artefact.load(folder)


Damage = Callable[[], bytes]


@pytest.mark.parametrize(
    ("weights", "why"),
    [
        (lambda: b"\xff" * 8 + b"{}", "cannot be read"),
        (lambda: b"\x80\x04\x95" + b"pickle" * 9, "cannot be read"),
        (lambda: save_tensors({"bias": np.full(3, np.nan)}), "not finite"),
        (lambda: save_tensors({"bias": np.full(3, np.inf)}), "not finite"),
        (lambda: save_tensors({"bias": np.zeros(3)}) + b"more", "cannot be read"),
    ],
)
def test_weights_that_a_forger_made_fit_the_manifest_are_refused(
    folder: Path, weights: Damage, why: str
) -> None:
    rewrite(folder, artefact.WEIGHTS, weights())
    with pytest.raises(BaselineError, match=why):
        artefact.load(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [("schema", "2"), ("kind", "friend"), ("trajectories", "4"), ("files", []), ("subjects", None)],
)
def test_a_manifest_of_another_schema_is_refused(folder: Path, key: str, value: object) -> None:
    manifest = json.loads((folder / artefact.MANIFEST).read_bytes())
    manifest[key] = value
    (folder / artefact.MANIFEST).write_bytes(artefact.canonical(manifest))
    with pytest.raises(BaselineError, match=key if key != "kind" else "kind of reference"):
        artefact.load(folder)


@pytest.mark.parametrize("schema", [1, artefact.SCHEMA + 1])
def test_a_baseline_of_another_version_is_told_from_a_damaged_one(
    folder: Path, schema: int
) -> None:
    manifest = json.loads((folder / artefact.MANIFEST).read_bytes())
    # another version may hold other keys
    changed = {"name": manifest["name"], "schema": schema}
    (folder / artefact.MANIFEST).write_bytes(artefact.canonical(changed))
    with pytest.raises(BaselineError, match=rf"another version .*schema {schema}, .*fit it anew"):
        artefact.load(folder)


def test_signatures_bind_the_manifest_and_the_key(folder: Path) -> None:
    key, stranger = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    mine = key.public_key().public_bytes_raw()
    with pytest.raises(BaselineError, match="not signed"):
        artefact.load(folder, trusted=[mine])
    public = artefact.sign(folder, key)
    assert artefact.load(folder, trusted=[mine]).signed_by == public == mine.hex()
    with pytest.raises(BaselineError, match="not trusted"):
        artefact.load(folder, trusted=[stranger.public_key().public_bytes_raw()])
    rewrite(folder, artefact.DOCUMENT, b'{"rung":"table"}')
    with pytest.raises(BaselineError, match="does not fit"):
        artefact.load(folder)


def test_a_garbled_signature_is_refused(folder: Path) -> None:
    (folder / artefact.SIGNATURE).write_bytes(b'{"key":"zz","signature":""}')
    with pytest.raises(BaselineError, match="signature"):
        artefact.load(folder)


def test_numbers_json_cannot_say_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BaselineError):
        artefact.save(tmp_path, MANIFEST, {"x": object()}, {"a": np.zeros(1)})


def test_a_baseline_that_could_not_be_written_whole_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full when the last file is written."""
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if artefact.MANIFEST in path.name:
            raise OSError(28, "No space left on device", str(path))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        artefact.save(tmp_path, MANIFEST, {"rung": "rate"}, {"bias": np.zeros(3)})
    assert list(tmp_path.iterdir()) == []
