"""A baseline's folder: weights.safetensors, baseline.json and a signed, content-addressed manifest.

    manifest.json        SHA-256 of the two other files, and where the baseline came from
    baseline.json        canonical JSON: calibrations, roles, counts, what chose the rung
    weights.safetensors  the hazard's parameters, hashed trajectory ids, keyed target digests
    manifest.sig         Ed25519 signature over manifest.json, where somebody signed it

Loading verifies in the order signature, hashes, schema, shapes, finite numbers. Nothing is ever
unpickled. The digest of the canonical manifest is the baseline's address: equal content, equal
digest.
"""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from contracts.baseline import REFERENCE_KINDS, BaselineInfo, ReferenceKind
from contracts.errors import BaselineError

SCHEMA: Final = 2
"""Goes up with any change of what a baseline's files hold or mean. 2: shapes, tools, calibrated
thresholds."""
MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.sig"
DOCUMENT: Final = "baseline.json"
WEIGHTS: Final = "weights.safetensors"
LARGEST_BYTES: Final = 256 * 1024 * 1024
"""A file of a baseline larger than this is refused unread."""

Document = Mapping[str, Any]
Tensors = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Artefact:
    """A verified baseline as read. `digest`: hex SHA-256 of the canonical manifest. `signed_by`:
    hex Ed25519 public key that signed it, "" for none.
    """

    digest: str
    manifest: Document
    document: Document
    tensors: Tensors
    signed_by: str
    folder: Path

    def info(self, active_for: str = "") -> BaselineInfo:
        """The manifest as the registry lists it."""
        manifest = self.manifest
        return BaselineInfo(
            name=str(manifest["name"]),
            kind=cast(ReferenceKind, manifest["kind"]),
            digest=self.digest,
            where=str(manifest["where"]),
            trajectories=int(manifest["trajectories"]),
            calls=int(manifest["calls"]),
            trajectories_digest=str(manifest["trajectories_digest"]),
            created_ns=int(manifest["created_ns"]),
            subjects=tuple(str(subject) for subject in manifest["subjects"]),
            active_for=active_for,
            path=str(self.folder),
            signed_by=self.signed_by,
        )


def canonical(document: Document) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces. Raises `BaselineError` for other values."""
    try:
        return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    except (TypeError, orjson.JSONEncodeError) as error:
        raise BaselineError(f"a baseline cannot hold this: {error}") from error


def trajectories_digest(ids: Sequence[str]) -> str:
    """Hex SHA-256 over the sorted trajectory ids."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()


def save(parent: Path, manifest: Document, document: Document, tensors: Tensors) -> Artefact:
    """Write a baseline into the folder of `parent` named after its digest, and read it back.

    `manifest`: without `schema` and `files`, which are added. Files are written beside their final
    place and renamed, the manifest last, so a folder with a manifest is whole; one that could not
    be written whole is removed. Raises `OSError`.
    """
    arrays = {name: np.ascontiguousarray(array) for name, array in sorted(tensors.items())}
    contents = {DOCUMENT: canonical(document), WEIGHTS: save_tensors(arrays)}
    files = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    head = canonical({**manifest, "schema": SCHEMA, "files": files})
    folder = parent / hashlib.sha256(head).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for name, content in (*contents.items(), (MANIFEST, head)):
            beside = folder / f".{name}.new"
            beside.write_bytes(content)
            beside.replace(folder / name)
    except OSError:
        if not (folder / MANIFEST).exists():  # nobody can use what is there
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return load(folder)


def load(folder: Path, trusted: Sequence[bytes] = (), expected_digest: str = "") -> Artefact:
    """A baseline's content after all checks.

    `trusted`: raw Ed25519 public keys; where given, one of them must have signed.
    `expected_digest`: where given, the digest the registry knows. Raises `BaselineError` that says
    which check failed.
    """
    head = _read(folder, MANIFEST)
    digest = hashlib.sha256(head).hexdigest()
    if expected_digest and digest != expected_digest:
        raise BaselineError(f"{folder.name}: the manifest is not the one that was registered")
    signed_by = _verified(folder, head, trusted)
    manifest = _json(head, MANIFEST)
    _check_manifest(manifest)
    contents: dict[str, bytes] = {}
    for name in (DOCUMENT, WEIGHTS):
        contents[name] = _read(folder, name)
        if hashlib.sha256(contents[name]).hexdigest() != manifest["files"].get(name):
            raise BaselineError(f"{name} was changed after the baseline was frozen")
    try:
        tensors = load_tensors(contents[WEIGHTS])
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise BaselineError(f"{WEIGHTS} cannot be read: {error}") from error
    for name, array in tensors.items():
        if array.dtype.kind == "f" and not bool(np.isfinite(array).all()):
            raise BaselineError(f"{WEIGHTS}: {name} holds numbers that are not finite")
    document = _json(contents[DOCUMENT], DOCUMENT)
    return Artefact(digest, manifest, document, tensors, signed_by, folder)


def sign(folder: Path, key: Ed25519PrivateKey) -> str:
    """Sign a baseline's manifest; hex of the public key. A signature that stands is replaced."""
    head = load(folder).folder / MANIFEST
    public = key.public_key().public_bytes_raw().hex()
    signature = key.sign(head.read_bytes()).hex()
    (folder / SIGNATURE).write_bytes(canonical({"key": public, "signature": signature}))
    return public


def _verified(folder: Path, head: bytes, trusted: Sequence[bytes]) -> str:
    if not (folder / SIGNATURE).exists():
        if trusted:
            raise BaselineError(f"{folder.name} is not signed")
        return ""
    signature = _json(_read(folder, SIGNATURE), SIGNATURE)
    try:
        key = bytes.fromhex(str(signature["key"]))
        Ed25519PublicKey.from_public_bytes(key).verify(
            bytes.fromhex(str(signature["signature"])), head
        )
    except (KeyError, ValueError, InvalidSignature) as error:
        raise BaselineError(f"{folder.name}: the signature does not fit the manifest") from error
    if trusted and key not in trusted:
        raise BaselineError(f"{folder.name} is signed by a key that is not trusted")
    return key.hex()


def _read(folder: Path, name: str) -> bytes:
    path = folder / name
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise BaselineError(f"{name} is larger than {LARGEST_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise BaselineError(f"{name} of baseline {folder.name} cannot be read: {error}") from error


def _json(content: bytes, name: str) -> dict[str, Any]:
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise BaselineError(f"{name} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise BaselineError(f"{name} is not a JSON object")
    return cast("dict[str, Any]", document)


_MANIFEST_TYPES: Final[Mapping[str, type]] = {
    "schema": int,
    "name": str,
    "kind": str,
    "where": str,
    "trajectories": int,
    "calls": int,
    "trajectories_digest": str,
    "created_ns": int,
    "subjects": list,
    "files": dict,
    "rules_digest": str,
    "versions": dict,
    "lineage": list,
}


def _check_manifest(manifest: Document) -> None:
    schema = manifest.get("schema")
    if isinstance(schema, int) and schema != SCHEMA:
        raise BaselineError(
            f"{manifest.get('name')} was fitted by another version of Telltale (schema {schema},"
            f" this one reads {SCHEMA}): fit it anew"
        )
    for key, kind in _MANIFEST_TYPES.items():
        if not isinstance(manifest.get(key), kind):
            raise BaselineError(f"{MANIFEST}: {key} is missing or not a {kind.__name__}")
    if manifest["kind"] not in REFERENCE_KINDS:
        raise BaselineError(f"{MANIFEST}: {manifest['kind']!r} is no kind of reference")
