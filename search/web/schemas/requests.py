"""The shapes of requests and answers, for checking the ones and documenting the others.

Answers are made by hand, as the command line's are: these models only describe them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from parecido.indexer.records.filters import Filter, parse_near
from parecido.search.asking.terms import Terms
from parecido.search.asking.words import label_filter

__all__ = [
    "BatchIn",
    "BatchOut",
    "EncoderOut",
    "ErrorOut",
    "Given",
    "IndexIn",
    "InfoOut",
    "JobOut",
    "JobsOut",
    "LabelsOut",
    "ListTerms",
    "PictureOut",
    "PicturesOut",
    "ResultsOut",
    "SearchTerms",
    "SessionIn",
    "VectorIn",
]

_Side = Annotated[int | None, Field(ge=1, le=1_000_000_000)]
_Words = Annotated[str | None, Field(min_length=1, max_length=200)]
_Date = Annotated[str | None, Field(min_length=4, max_length=40)]
LabelRow = tuple[str, float]


class Given(BaseModel):
    """What a client sends: nothing unknown in it, so that a slip of the pen is told."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class FilterTerms(Given):
    """Which pictures a question is about."""

    path: Annotated[str | None, Field(min_length=1, max_length=1024)] = Field(
        None,
        description="A file, a folder with all below it, or a pattern with `*`, `?` or `[` for "
        "the whole path.",
    )
    label: _Words = Field(
        None,
        description="A word for what the picture shows: an ImageNet class's name, a synonym, or a "
        "broader word.",
        examples=["dog"],
    )
    format: _Words = Field(None, description="File format, such as `JPEG`.")
    camera: _Words = Field(None, description="Part of the camera's maker and model.")
    min_width: _Side = None
    min_height: _Side = None
    max_width: _Side = None
    max_height: _Side = None
    taken_from: _Date = Field(
        None, description="By the camera's clock: `2024`, `2024-05`, `2024-05-01` or with a time."
    )
    taken_to: _Date = Field(None, description="As `taken_from`; the whole of that period counts.")
    added_since: _Date = Field(None, description="A date, or a date with a time.")
    near: _Words = Field(
        None,
        description="Taken at most so far from a place: latitude, longitude, kilometres.",
        examples=["48.858,2.294,5"],
    )
    keyword: _Words = Field(None, description="One of the picture's keywords, in any case.")
    min_rating: int | None = Field(
        None, ge=-1, le=5, description="At least so many stars; -1 are rejected pictures."
    )

    def filter(self) -> Filter:
        """As the engine takes it.

        Raises ``InvalidRequest`` for dates and places that are none, bounds that exclude each
        other, and a label that no class has.
        """
        given = {name: getattr(self, name) for name in FilterTerms.model_fields}
        label = given.pop("label")
        if given["near"] is not None:
            given["near"] = parse_near(given["near"])
        wanted = Filter(**given)
        return wanted if label is None else label_filter(wanted, label)


class SearchTerms(FilterTerms):
    """Which of the nearest pictures are wanted."""

    k: int = Field(10, ge=1, le=1000, description="How many hits.")
    offset: int = Field(0, ge=0, le=100_000, description="How many of the best to leave out.")
    min_score: float | None = Field(None, ge=-1, le=1, description="Least cosine.")
    max_chance: float | None = Field(
        None,
        gt=0,
        description="How many pictures of the library may be expected to score like a hit by "
        "chance.",
    )
    same: bool = Field(
        False,
        description="Only hits that show the same picture: copies in another size or format, "
        "turned or mirrored, framed, cut by a tenth.",
    )
    expand: bool | None = Field(
        None,
        description="Compare what pictures have in common with their neighbours; by default as "
        "the library was told.",
    )
    rerank: bool | None = Field(
        None, description="Put those first that share neighbours with the query; the same."
    )
    exact: bool = Field(False, description="Look at every picture, however large the library.")

    def terms(self) -> Terms:
        """As the engine takes them."""
        names = ("k", "offset", "min_score", "max_chance", "same", "expand", "rerank", "exact")
        return Terms(wanted=self.filter(), **{name: getattr(self, name) for name in names})


class RegionTerms(SearchTerms):
    """The same, and which part of the query to look for."""

    region: str | None = Field(
        None,
        min_length=7,
        max_length=100,
        description="`x,y,width,height` in pixels, or each with a `%`: that part is looked for.",
        examples=["10%,20%,50%,50%"],
    )
    any_orientation: bool = Field(
        False, description="However turned by quarters or mirrored; the picture is read for it."
    )
    within: bool = Field(
        False,
        description="Also where it is a part of a picture; of libraries that keep regions. The "
        "picture is read for it.",
    )

    def terms(self) -> Terms:
        """As the engine takes them."""
        return replace(super().terms(), within=self.within)


class SimilarTerms(RegionTerms):
    """The same, for a picture of the library."""

    include_self: bool = Field(False, description="Let the picture find itself.")


class ListTerms(FilterTerms):
    """Which pictures to list, and in which order."""

    order: Literal["random", "added", "path"] = Field(
        "added", description="`added`: newest first; `random`: a handful, other ones each time."
    )
    limit: int = Field(24, ge=1, le=200)
    offset: int = Field(0, ge=0, le=1_000_000_000)


class VectorIn(Given):
    """A descriptor that was made elsewhere, by the library's own encoder."""

    vector: list[float] = Field(min_length=1, max_length=65536, description="Of any length but 0.")


class QueryIn(Given):
    """One of these three."""

    id: int | None = Field(None, ge=1, le=2**63 - 1, description="A picture of the library.")
    vector: list[float] | None = Field(None, min_length=1, max_length=65536)
    image: str | None = Field(None, description="A picture's bytes in Base64.")


class BatchIn(Given):
    """Several queries at once."""

    queries: list[QueryIn] = Field(min_length=1)

    @classmethod
    def document(cls) -> dict[str, Any]:
        """Its JSON schema in one piece, without references that an OpenAPI document lacks."""
        schema = cls.model_json_schema()
        schema["properties"]["queries"]["items"] = schema.pop("$defs")["QueryIn"]
        return schema


class IndexIn(Given):
    """What to index."""

    path: str = Field(min_length=1, max_length=4096, description="A folder or a picture, absolute.")


class SessionIn(Given):
    """What lets a browser in."""

    token: str = Field(min_length=1, max_length=1000)


class ErrorDetail(BaseModel):
    code: str = Field(examples=["picture_unreadable"])
    message: str = Field(examples=["The picture cannot be read: the file is empty (zero bytes)."])
    remedy: str = Field(examples=["Give a picture that opens, in a usual format."])


class ErrorOut(BaseModel):
    """What every error looks like."""

    error: ErrorDetail


class HitOut(BaseModel):
    rank: int
    id: int
    score: float = Field(description="Cosine between query and picture.")
    path: str
    width: int
    height: int
    labels: list[LabelRow]
    chance: float | None = Field(
        None,
        description="How many pictures of the library are expected to score so by chance; left "
        "out where the library is too small to tell.",
    )
    second: float | None = Field(
        None, description="What a second thought scored, in whose order the hits are."
    )
    box: tuple[float, float, float, float] | None = Field(
        None,
        description="Of a search within pictures, where: x, y, width and height as shares of the "
        "upright picture; left out where the whole of it is meant.",
    )
    same: bool | None = Field(
        None,
        description="Whether it shows the same picture as the one that was asked about, decided by "
        "their pixels; null where that cannot be told.",
    )
    there: bool | None = Field(
        None, description="False where no file lies at its path; left out where one does."
    )


class ResultsOut(BaseModel):
    """The answer to one query, best first."""

    query: str
    encoder: str
    took_ms: float
    hits: list[HitOut]
    offset: int
    more: bool = Field(description="Whether further hits may follow these.")
    note: str | None = Field(
        None, description="Why there are none, where no picture has the wanted path."
    )


class FailedOut(BaseModel):
    query: str
    error: ErrorDetail


class BatchOut(BaseModel):
    """An answer or an error for each query, in their order."""

    results: list[ResultsOut | FailedOut]


class PictureOut(BaseModel):
    """A picture of the library."""

    id: int
    path: str
    name: str
    width: int
    height: int
    format: str
    file_size: int
    modified_at: str
    taken_at: str | None = Field(
        description="By the camera's clock; shorter where only the year, month or day is known."
    )
    taken_from: str | None = Field(
        description="What told when: exif, xmp, iptc or png in the file, sidecar or takeout beside "
        "it, name for a guess by its name; null where nothing did."
    )
    taken_is_utc: bool = Field(description="Whether that is the time of Greenwich.")
    camera: str
    rating: int | None = Field(description="-1 (rejected) to 5 stars.")
    latitude: float | None
    longitude: float | None
    keywords: list[str]
    added_at: str
    labels: list[LabelRow]
    content_hash: str = Field(description="BLAKE2b of the file, 16 bytes.")
    owned: bool = Field(description="Whether it was uploaded here.")


class PicturesOut(BaseModel):
    pictures: list[PictureOut]
    total: int
    more: bool


class JobOut(BaseModel):
    """A change of the library on its way."""

    id: str
    kind: Literal["index", "add", "replace", "delete"]
    state: Literal["waiting", "running", "done", "failed", "stopped"]
    path: str
    picture: int | None
    added: int
    updated: int
    unchanged: int
    moved: int
    removed: int
    skipped: int
    error: ErrorDetail | None
    created_at: str
    started_at: str | None
    ended_at: str | None


class JobsOut(BaseModel):
    jobs: list[JobOut]


class LabelsOut(BaseModel):
    """The likeliest ImageNet classes: name, probability, index."""

    image: str
    labels: list[tuple[str, float, int]]


class EncoderOut(BaseModel):
    """The library's encoder."""

    title: str
    model: str
    dimension: int
    pooling: str
    fingerprint: str
    labels: list[str] = Field(description="Its classes by index; empty where it has none.")


class InfoOut(BaseModel):
    """What the library holds and what this server allows."""

    model_config = ConfigDict(extra="allow")

    library: str
    pictures: int
    skipped: int
    encoder: str | None
    model: str | None
    pooling: str | None
    dimension: int | None = Field(description="How many numbers the encoder gives.")
    fingerprint: str | None
    space_dimension: int | None = Field(
        description="How many numbers are compared, in the library's own space; null where it has "
        "none, and the encoder's are."
    )
    space_learned_from: int | None = Field(
        description="How many pictures the library had when it learned its space."
    )
    space_kept: float | None = Field(
        description="Share of the ten nearest in all of the space's directions that are among the "
        "ten nearest in those that are kept."
    )
    same_class: float | None = Field(
        description="Share of the ten nearest that show the query's own ImageNet class; null "
        "without a space or a classifier."
    )
    same_class_before: float | None = Field(description="The same, without the space.")
    think_twice: bool = Field(
        description="Whether searches expand and re-rank unless told otherwise."
    )
    index: str | None = Field(description="The kind of the vector index and what it holds.")
    index_bytes: int
    recall: float | None = Field(
        description="Recall@10 of the index against exact search, on the library's own pictures."
    )
    roots: list[str] = Field(description="What was given to be indexed.")
    bytes: int = Field(description="What the library takes on the disk.")
    file_system: str | None = Field(
        description="The kind of file system that the library lies on, as its system calls it."
    )
    file_system_note: str | None = Field(
        description="What to know of it, where it is a network's or a container's own."
    )
    version: str
    read_only: bool
    uploads: bool
    index_roots: list[str]
    session: bool = Field(description="Whether the request came with a session, as a browser's.")
    limits: dict[str, Any]
