"""Pictures, jobs and results as JSON shows them."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from parecido.indexer.records.details import Details
from parecido.indexer.records.pictures import Picture
from parecido.search.asking.terms import Terms
from parecido.search.results import Results, results_dict
from parecido.search.web.errors import error_dict
from parecido.search.web.jobs import Job

__all__ = ["job_dict", "page_dict", "picture_dict"]


def page_dict(results: Results, terms: Terms) -> dict[str, Any]:
    """The answer to a query: as the command line prints it, and where in all hits it lies."""
    return {
        **results_dict(results),
        "offset": terms.offset,
        "more": len(results.hits) == terms.count,
    }


def picture_dict(picture: Picture, owned: bool, details: Details) -> dict[str, Any]:
    """A picture of the library; ``owned`` is one that was uploaded."""
    return {
        "id": picture.id,
        "path": picture.path,
        "name": os.path.basename(picture.path),
        "width": picture.width,
        "height": picture.height,
        "format": picture.format,
        "file_size": picture.file_size,
        "modified_at": _moment(picture.mtime_ns / 1e9),
        "taken_at": picture.taken_at,
        "taken_from": details.taken_from,
        "taken_is_utc": details.is_utc,
        "camera": picture.camera,
        "rating": details.rating,
        "latitude": details.latitude,
        "longitude": details.longitude,
        "keywords": list(details.keywords),
        "added_at": _moment(picture.added_at),
        "labels": [[name, round(probability, 4)] for name, probability, _ in picture.labels],
        "content_hash": picture.content_hash.hex(),
        "owned": owned,
    }


def job_dict(job: Job) -> dict[str, Any]:
    """A change on its way."""
    report = job.report
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "path": job.path,
        "picture": job.picture,
        "added": report.added,
        "updated": report.updated,
        "unchanged": report.unchanged,
        "moved": report.moved,
        "removed": report.removed,
        "skipped": len(report.skipped),
        "error": error_dict(job.error) if job.error else None,
        "created_at": _moment(job.created_at),
        "started_at": None if job.started_at is None else _moment(job.started_at),
        "ended_at": None if job.ended_at is None else _moment(job.ended_at),
    }


def _moment(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC; files may claim to be of any year."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return "1970-01-01T00:00:00Z"
