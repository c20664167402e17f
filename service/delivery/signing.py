"""Detached Ed25519 signatures (RFC 8032) of finished files, and their keys.

A signature is 64 raw bytes, which other tools can check too: `openssl pkeyutl -verify -pubin
-inkey KEY.pub.pem -rawin -in model.onnx -sigfile model.onnx.sig`.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from models.errors import Conflict, InputError

SIGNATURE_BYTES = 64
MAX_KEY_BYTES = 10_000


def generate(path: Path) -> Path:
    """Write a new private key, readable by its owner alone, and the public key beside it.

    Returns:
        Path of the public key: `path` with the suffix `.pub.pem`.

    Raises:
        Conflict: if one of the files exists; keys are never overwritten.
    """
    public = path.with_suffix(".pub.pem")
    for file in (path, public):
        if file.exists():
            raise Conflict(f"{file} exists already: choose another name, or remove it first")
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file_:
            file_.write(private)
        public.write_bytes(public_pem(key.public_key()))
    except OSError as error:
        raise InputError(f"{path}: cannot write a key there: {error}") from error
    return public


def read_private(path: Path) -> Ed25519PrivateKey:
    """The private key in a PEM file.

    Raises:
        InputError: if the file holds no unencrypted Ed25519 private key.
    """
    try:
        key = load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError(
            f"{path}: expected an Ed25519 private key in PEM, without a password, as "
            f"`subnet-search keygen` writes it: {error}"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path}: expected an Ed25519 key, got {type(key).__name__}")
    return key


def read_public(path: Path) -> Ed25519PublicKey:
    """The public key in a PEM file, which may also hold the private key.

    Raises:
        InputError: if the file holds no Ed25519 key.
    """
    content = _read(path)
    if b"PRIVATE KEY" in content:
        return read_private(path).public_key()
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(f"{path}: expected an Ed25519 public key in PEM: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{path}: expected an Ed25519 key, got {type(key).__name__}")
    return key


def public_pem(key: Ed25519PublicKey) -> bytes:
    """A public key as PEM."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def is_signed(content: bytes, signature: bytes, key: Ed25519PublicKey) -> bool:
    """Whether `signature` is a valid signature of `content` by the owner of `key`."""
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_KEY_BYTES:
            raise InputError(f"{path}: expected a PEM file of at most {MAX_KEY_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot read a key there: {error}") from error
