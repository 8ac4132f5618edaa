"""What a backup says of itself: ``manifest.json``, its last member."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

__all__ = ["CATALOGUE_MEMBER", "FORMAT", "MANIFEST", "Manifest", "Member", "UploadEntry"]

FORMAT = "parecido backup 1"
MANIFEST = "manifest.json"
CATALOGUE_MEMBER = "catalogue.sqlite"

# nothing that leads out of the folder, is hidden, or means a device or a stream on Windows
_NAMES = re.compile(
    r"catalogue\.sqlite|encoder/model\.(xml|bin)|uploads/[0-9a-f]{2}/[^\W_][\w-]*(\.[\w-]+)*"
)
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Member:
    """A file in a backup."""

    name: str
    bytes: int
    sha256: str

    def check(self) -> None:
        """Raise ``ValueError`` for what no backup holds."""
        is_right = (
            isinstance(self.name, str)
            and _NAMES.fullmatch(self.name)
            and len(self.name.encode()) < 512
            and isinstance(self.bytes, int)
            and self.bytes >= 0
            and isinstance(self.sha256, str)
            and _DIGEST.fullmatch(self.sha256)
        )
        if not is_right:
            raise ValueError(f"a member is called {str(self.name)[:80]!r}")


@dataclass(frozen=True)
class UploadEntry:
    """An uploaded picture: where it lay, and which member has its bytes."""

    path: str
    """Its path in the catalogue, the bytes in hexadecimal."""
    member: str
    content_hash: str
    """Of the bytes, as the catalogue has it, in hexadecimal."""

    @property
    def raw_path(self) -> bytes:
        return bytes.fromhex(self.path)


@dataclass(frozen=True)
class Manifest:
    """What a backup holds."""

    format: str
    program: str
    """Version of the program that made it."""
    made_at: str
    """When, UTC."""
    schema: str
    generation: int
    encoder: str | None
    pictures: int
    skipped: int
    members: tuple[Member, ...]
    uploads: tuple[UploadEntry, ...]
    missing: tuple[str, ...]
    """Paths of uploads that could not be had, the bytes in hexadecimal."""

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), indent=1).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Raises ``ValueError`` for what is no manifest of a backup."""
        try:
            told = json.loads(text)
            if told.get("format") != FORMAT:
                raise ValueError(f"its format is {str(told.get('format'))[:40]!r}")
            made = cls(
                **{
                    **told,
                    "members": tuple(Member(**one) for one in told["members"]),
                    "uploads": tuple(UploadEntry(**one) for one in told["uploads"]),
                    "missing": tuple(told["missing"]),
                }
            )
            made.check()
        except (TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"its manifest is not as it should be ({error})") from error
        return made

    def check(self) -> None:
        """Raise ``ValueError`` for what contradicts itself."""
        for member in self.members:
            member.check()
        names = {member.name: member for member in self.members}
        if len({name.casefold() for name in names}) != len(self.members):
            raise ValueError("two members have one name")
        if CATALOGUE_MEMBER not in names:
            raise ValueError("it has no catalogue")
        if len({name.startswith("encoder/") and name for name in names} - {False}) not in (0, 2):
            raise ValueError("half of the quantised model is missing")
        if not re.fullmatch(r"\d{4}", str(self.schema)):
            raise ValueError("it does not record its version")
        for upload in self.uploads:
            if not upload.member.startswith("uploads/") or upload.member not in names:
                raise ValueError("it lacks an uploaded picture that it names")
            bytes.fromhex(upload.path), bytes.fromhex(upload.content_hash)
        for path in self.missing:
            bytes.fromhex(path)

    def pick_members(self) -> Iterator[Member]:
        """The members that a library is made of."""
        wanted = {upload.member for upload in self.uploads}
        for member in self.members:
            if not member.name.startswith("uploads/") or member.name in wanted:
                yield member

    def by_name(self) -> Mapping[str, Member]:
        return {member.name: member for member in self.members}
