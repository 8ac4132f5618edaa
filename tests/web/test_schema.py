"""What the OpenAPI document promises is what the server does, whatever Schemathesis thinks of.

Every route is asked with good and bad values; pictures come as pictures and as rubbish.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from parecido.indexer.indexing.pipeline import index
from parecido.indexer.library.library import Library
from parecido.web import Settings, create_app
from tests.support.fakes import DIMENSION, save_pictures
from tests.support.serving import HOST, Client, labelled_encoder, picture_bytes, serving, use_fakes

COUNT = 30
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
PICTURES = [picture_bytes(1), picture_bytes(50, "JPEG"), picture_bytes(51, "GIF")]


def _plain(part: Any) -> Any:
    """The document with tuples as arrays of either: Schemathesis 4.32 turns `prefixItems` into a
    form of older drafts, which its own validator then refuses.
    """
    if isinstance(part, list):
        return [_plain(item) for item in part]
    if not isinstance(part, dict):
        return part
    plain = {key: _plain(value) for key, value in part.items()}
    if "prefixItems" in plain:
        plain["items"] = {"anyOf": plain.pop("prefixItems")}
    return plain


api = schemathesis.openapi.from_dict(
    _plain(create_app().openapi()),
    config=SchemathesisConfig(
        projects=ProjectsConfig(
            default=ProjectConfig(base_url=HOST, generation=GenerationConfig(deterministic=True))
        )
    ),
)


@api.hook
def flatmap_case(context: schemathesis.HookContext, case: schemathesis.Case) -> Any:
    """Some of the pictures are pictures, and some of the ids are ids of pictures."""
    media, path = case.media_type or "", case.path
    changes: list[Any] = [st.just({})]
    if media.startswith("image/") or media == "application/octet-stream":
        changes.append(st.fixed_dictionaries({"body": st.sampled_from(PICTURES)}))
    if media == "multipart/form-data":
        form = st.fixed_dictionaries({"image": st.sampled_from(PICTURES)})
        changes.append(st.fixed_dictionaries({"body": form, "query": st.just({})}))
    if media == "application/json" and path.startswith("/v1/search"):
        vector = {"vector": st.lists(st.floats(-1, 1), min_size=DIMENSION, max_size=DIMENSION)}
        body: dict[str, st.SearchStrategy[Any]] = vector
        if path.endswith("/batch"):
            query = st.one_of(st.fixed_dictionaries(vector), st.just({"id": 1}))
            body = {"queries": st.lists(query, min_size=1, max_size=5)}
        whole = {"body": st.fixed_dictionaries(body), "query": st.just({})}
        changes.append(st.fixed_dictionaries(whole))
    if "picture_id" in (case.path_parameters or {}):
        # what was uploaded comes after the first pictures
        ids = st.integers(COUNT + 1, COUNT + 5) if case.method == "PUT" else st.integers(1, COUNT)
        part = st.fixed_dictionaries({"picture_id": ids})
        wants_query = path.endswith("/why") and case.method == "GET"
        query = st.fixed_dictionaries({"query_id": ids} if wants_query else {})
        changes.append(st.fixed_dictionaries({"path_parameters": part, "query": query}))

    def changed(values: dict[str, Any]) -> schemathesis.Case:
        for name, value in values.items():
            setattr(case, name, value)
        return case

    return st.one_of(changes).map(changed)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("schema")
    save_pictures(folder / "pictures", COUNT)
    with Library.create(folder / "library") as library:
        index(library, [folder / "pictures"], encoder=labelled_encoder())
    with pytest.MonkeyPatch.context() as patch:
        use_fakes(patch)
        with serving(folder / "library", Settings(index_roots=(folder / "pictures",))) as client:
            yield client


def _asked(case: schemathesis.Case, client: Client) -> Any:
    """Send a case to the running application."""
    prepared = requests.Request(**case.as_transport_kwargs(base_url=HOST)).prepare()
    return client.ask(
        prepared.method, prepared.url, headers=dict(prepared.headers), content=prepared.body
    )


@api.parametrize()
@settings(max_examples=30, suppress_health_check=list(HealthCheck))
def test_the_server_keeps_its_promises(case: schemathesis.Case, client: Client) -> None:
    case.validate_response(_asked(case, client), checks=CHECKS)
