"""Time-stamps of RFC 3161, made and read by `openssl`, which is on every system that has git.

A reply of an authority holds the hash that it was asked to stamp, the time, and a signature.
"""

import re
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_SIGNED = re.compile(
    r":(?P<algorithm>\S+)\s*\n(?:.*NULL.*\n)?.*OCTET STRING\s+\[HEX DUMP\]:(?P<hash>[0-9A-F]+)\n"
    r"(?:.*\n)*?.*GENERALIZEDTIME\s+:(?P<time>\d{14})(?:\.\d+)?Z"
)
"""What `openssl asn1parse` prints of a TSTInfo (RFC 3161, section 2.4.2)."""
_HEX_DIGITS_OF_SHA256 = 64


class BadStamp(ValueError):
    """A reply that is no valid stamp."""


@dataclass(frozen=True)
class Stamp:
    """What an authority signed: the hash in hex existed at this time (UTC, whole seconds)."""

    sha256: str
    time: datetime


def query_for(sha256: str) -> bytes:
    """A request to stamp this hash (64 hex digits) and to send the authority's certificate along.

    It holds no nonce: an older reply for the same hash would be as true. Raises OSError without
    openssl.
    """
    return _openssl("ts", "-query", "-sha256", "-digest", sha256, "-cert", "-no_nonce")


def read_reply(reply: bytes, certificates: Path | None = None) -> Stamp:
    """The stamp in a reply whose signature fits the certificate that came with it.

    `certificates` (PEM) are those of the authorities that may have signed it, and must have been
    valid at its time; None leaves open who did. Raises BadStamp for another reply,
    FileNotFoundError without that file, OSError without openssl.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "reply.tsr")
        path.write_bytes(reply)
        stamp = _signed(_token(path))
        if certificates:
            _check_authority(path, stamp, certificates)
    return stamp


def _token(path: Path) -> bytes:
    """The signed part of a reply."""
    try:
        return _openssl("ts", "-reply", "-in", str(path), "-token_out")
    except BadStamp:
        raise BadStamp(_refusal(path)) from None


def _signed(token: bytes) -> Stamp:
    """What the token's signature is for."""
    try:
        signed = _openssl("cms", "-verify", "-inform", "DER", "-noverify", "-binary", given=token)
    except BadStamp:
        raise BadStamp("its signature does not fit the certificate in it") from None
    found = _SIGNED.search(_openssl("asn1parse", "-inform", "DER", given=signed).decode())
    if found is None or found["algorithm"] != "sha256":
        raise BadStamp("it stamps no SHA-256")
    time = datetime.strptime(found["time"], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return Stamp(found["hash"].lower(), time)


def _check_authority(path: Path, stamp: Stamp, certificates: Path) -> None:
    if not certificates.is_file():
        raise FileNotFoundError(
            f"{certificates} is not a file; TSA_CA names the authority's root certificate (PEM)"
        )
    roots, at = ("-CAfile", str(certificates)), ("-attime", f"{stamp.time.timestamp():.0f}")
    try:
        _openssl("ts", "-verify", "-digest", stamp.sha256, "-in", str(path), *roots, *at)
    except BadStamp as error:
        reason = str(error).rpartition(":")[2].strip()
        raise BadStamp(f"no authority of {certificates} signed it ({reason})") from None


def _refusal(path: Path) -> str:
    """Why a reply holds no token: the authority's words, if it is a reply."""
    try:
        text = _openssl("ts", "-reply", "-in", str(path), "-text").decode(errors="replace")
    except BadStamp:
        return "it is not a time-stamp reply"
    told = re.findall(r"^(?:Status description|Failure info): (.+)$", text, re.MULTILINE)
    words = [word for word in told if word != "unspecified"]
    return f"the authority refused it ({'; '.join(words) or 'without a reason'})"


def _openssl(*words: str, given: bytes = b"") -> bytes:
    """What `openssl` prints. Raises BadStamp with its last line if it fails."""
    try:
        done = subprocess.run(["openssl", *words], input=given, capture_output=True, check=False)
    except FileNotFoundError:
        raise FileNotFoundError(
            "stamps are made and checked with openssl, which is not installed; install it (apt "
            "install openssl)"
        ) from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise BadStamp(said.rpartition("\n")[2])
    return done.stdout
