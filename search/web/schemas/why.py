"""The shapes of questions for why two pictures matched, and of their answers."""

from __future__ import annotations

from pydantic import BaseModel, Field

from parecido.search.web.schemas.requests import Given

__all__ = ["WhyByIdTerms", "WhyOut", "WhyTerms"]


class WhyTerms(Given):
    """Which part of the query is compared."""

    region: str | None = Field(
        None,
        min_length=7,
        max_length=100,
        description="`x,y,width,height` in pixels, or each with a `%`: the part of the query that "
        "was searched for.",
        examples=["10%,20%,50%,50%"],
    )


class WhyByIdTerms(WhyTerms):
    """The same, for a query from the library."""

    query_id: int = Field(ge=1, le=2**63 - 1, description="The picture that was searched for.")


class WhySideOut(BaseModel):
    """What the cells of one picture add to the score."""

    width: int = Field(description="Of the upright picture, in pixels.")
    height: int
    box: tuple[int, int, int, int] = Field(description="The part: left, top, width, height.")
    shape: tuple[int, int] = Field(description="Rows and columns of cells, which divide it evenly.")
    sum: float = Field(description="Of all values.")
    residual: float = Field(description="The score less the sum.")
    values: list[list[float]] = Field(description="What each cell adds, row by row.")
    boxes: list[list[tuple[float, float, float, float]]] = Field(
        description="Left, top, width and height of each cell, in pixels."
    )


class WhySidesOut(BaseModel):
    query: WhySideOut
    hit: WhySideOut


class WhyOut(BaseModel):
    """Which places of two pictures made them match."""

    query: str
    hit: str
    encoder: str
    score: float
    residual: float = Field(description="The larger one of the two sides'.")
    maps: WhySidesOut
