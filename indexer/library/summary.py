"""What is told of a library and of an indexing run, as plain values for JSON."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from parecido.indexer.records.rules import RootRules
from parecido.indexer.system.filesystems import filesystem_of
from parecido.indexer.system.text import plural

if TYPE_CHECKING:
    from parecido.indexer.library.library import Library
    from parecido.indexer.records.runs import IndexReport
    from parecido.indexer.vectors.local.index import VectorIndex

__all__ = ["report_dict", "summarise"]


def report_dict(report: IndexReport) -> dict[str, Any]:
    """The report of a run as JSON shows it."""
    return {
        "added": report.added,
        "updated": report.updated,
        "redecoded": report.redecoded,
        "unchanged": report.unchanged,
        "moved": report.moved,
        "removed": report.removed,
        "removed_by_rules": report.removed_by_rules,
        "skipped": [{"path": s.path, "reason": s.reason} for s in report.skipped],
        "notes": [{"path": n.path, "note": n.note} for n in report.notes],
        "left_out": [asdict(one) for one in report.left_out],
        "remarks": report.remarks,
        "looks": report.looks,
        "seconds": round(report.seconds, 3),
        "pictures_per_second": round(report.pictures_per_second, 1),
        "preparing_seconds": round(report.preparing_seconds, 3),
        "interrupted": report.interrupted,
        "missing_roots": report.missing_roots,
        "replaced_roots": report.replaced_roots,
        "relocated": [{"from": old, "to": new} for old, new in report.relocated],
        "copied": [{"from": old, "to": new} for old, new in report.copied],
    }


def summarise(library: Library) -> dict[str, Any]:
    """What ``parecido info`` tells."""
    pictures, skipped = library.catalogue.counts()
    aside = library.catalogue.aside.list_aside()
    spec = library.encoder
    index = library.vectors() if spec else None
    return {
        "library": str(library.folder),
        "pictures": pictures,
        "skipped": skipped,
        # known by their paths, in no answer until their files are read again
        **({"set_aside": [one.path for one in aside]} if aside else {}),
        "encoder": spec.title if spec else None,
        "model": spec.model if spec else None,
        "pooling": spec.pooling if spec else None,
        "dimension": spec.dimension if spec else None,
        "fingerprint": spec.fingerprint if spec else None,
        **_space_facts(library),
        "think_twice": library.catalogue.settings.reranks_by_default(),
        **_index_facts(index),
        "roots": [os.fsdecode(root.path) for root in library.catalogue.roots()],
        **_rule_facts(library),
        "bytes": library.disk_bytes,
        **_ground_facts(library),
    }


def _rule_facts(library: Library) -> dict[str, Any]:
    """What the roots exclude and take in, of those that do."""
    kept = {root.path: RootRules.from_json(root.rules) for root in library.catalogue.roots()}
    facts = [
        {"root": os.fsdecode(path), "exclude": list(own.exclude), "include": list(own.include)}
        for path, own in kept.items()
        if own.patterns
    ]
    return {"rules": facts} if facts else {}


def _ground_facts(library: Library) -> dict[str, Any]:
    """Of what the library lies on, and what somebody should know of it."""
    found = filesystem_of(library.folder)
    note = f"The library lies {found.told}." if found.told else None
    return {"file_system": found.kind or None, "file_system_note": note}


def _space_facts(library: Library) -> dict[str, Any]:
    """Of the library's own space, and what it was found to lose or gain."""
    space, judgement = library.catalogue.settings.space(), library.catalogue.settings.judgement()
    return {
        "space_dimension": space.dimension if space else None,
        "space_learned_from": space.pictures if space else None,
        # share of the ten nearest with all dimensions that are among the ten nearest with these
        "space_kept": judgement.kept if judgement else None,
        # share of the ten nearest that show the query's ImageNet class, and without the space
        "same_class": judgement.same_class if judgement else None,
        "same_class_before": judgement.same_class_before if judgement else None,
    }


def _index_facts(index: VectorIndex | None) -> dict[str, Any]:
    facts = index.facts if index else None
    if index is None or facts is None:
        return {"index": None, "index_bytes": 0, "recall": None}
    kinds = {
        "flat": "exhaustive, float32",
        "flat16": "exhaustive, float16",
        "compressed": f"compressed, trained on {facts.trained_on:,}",
    }
    return {
        "index": f"{kinds[facts.kind]}, {plural(index.count, 'descriptor')}",
        "index_bytes": index.file_bytes,
        # against exact search, on a sample of the library's own pictures
        "recall": facts.recall,
    }
