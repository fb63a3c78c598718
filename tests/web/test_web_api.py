"""The interface for programs, by hand and by a fuzzer that reads its description."""

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from trivium.store import intake, keys
from trivium.store.settings import load_settings, save_settings
from trivium.store.tasks import queue_counts

PROMPT = {
    "prompt": [{"role": "user", "content": "Why is the sky blue?"}],
    "author_id": "author-1",
    "consent": True,
}


@pytest.fixture
def key(site) -> str:
    """An intake key of a site that needs no scrubber."""
    rules = load_settings(site.store).model_copy(update={"pii": "none"})
    save_settings(site.store, rules, by=None)
    return keys.mint_intake_key(site.store, name="app")


@pytest.fixture
def program(site, key) -> httpx.Client:
    client = site.stranger()
    client.headers["Authorization"] = f"Bearer {key}"
    return client


def test_a_prompt_comes_in_and_becomes_a_task(site, program):
    first = program.post("/api/v1/prompts", json=PROMPT)
    assert (first.status_code, first.json()["status"]) == (200, "stored")
    assert program.post("/api/v1/prompts", json=PROMPT).json()["status"] == "duplicate"
    assert queue_counts(site.store).open == 1


def test_without_consent_nothing_is_stored(site, program):
    for consent in (False, None):
        prompt = {name: value for name, value in PROMPT.items() if name != "consent"}
        given = prompt if consent is None else {**prompt, "consent": consent}
        refused = program.post("/api/v1/prompts", json=given)
        assert refused.status_code == 422
        assert "consent" in refused.json()["problem"]
    assert queue_counts(site.store).open == 0


def test_without_a_scrubber_nothing_is_stored(site, program):
    rules = load_settings(site.store).model_copy(update={"pii": "presidio"})
    save_settings(site.store, rules, by=None)
    ready = intake.pii_ready(site.store)
    answer = program.post("/api/v1/prompts", json=PROMPT)
    assert answer.status_code == (200 if ready else 503)
    assert queue_counts(site.store).open == int(ready)


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer wrong", "Basic YTpi", "Bearer \xff"])
def test_only_with_a_key(site, key, header):
    headers = {"Authorization": header.encode("latin-1")} if header else {}
    refused = site.stranger().post("/api/v1/prompts", json=PROMPT, headers=headers)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert set(refused.json()) == {"problem"}


def test_a_revoked_key_is_refused(site, program):
    keys.revoke_intake_key(site.store, 1, by=None)
    assert program.post("/api/v1/prompts", json=PROMPT).status_code == 401


def test_a_session_is_no_key(site, key):
    assert site.client("boss").post("/api/v1/prompts", json=PROMPT).status_code == 401


def test_the_description_names_every_answer(site):
    described = site.stranger().get("/api/v1/openapi.json").json()
    assert list(described["paths"]) == ["/api/v1/prompts"]
    post = described["paths"]["/api/v1/prompts"]["post"]
    assert set(post["responses"]) == {"200", "400", "401", "413", "422", "429", "503", "507"}
    assert post["security"] == [{"HTTPBearer": []}]


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_a_fuzzer_finds_no_crash_and_no_undescribed_answer(site, key, mode):
    """Right and wrong bodies, drawn from the description; every answer is held against it."""
    described = schemathesis.openapi.from_url(f"{site.url}/api/v1/openapi.json")
    seen = set()

    @settings(max_examples=40, deadline=None, database=None, suppress_health_check=HealthCheck)
    @given(case=described["/api/v1/prompts"]["POST"].as_strategy(generation_mode=mode))
    def fuzz(case) -> None:
        # JSON Schema can't say "the last message is the user's", so good bodies may be refused.
        answer = case.call_and_validate(
            headers={"Authorization": f"Bearer {key}"}, excluded_checks=[positive_data_acceptance]
        )
        seen.add(answer.status_code)

    fuzz()
    assert 422 in seen
    # Some wrong requests bring wrong keys; who tries many of these, and only who does, has to wait.
    assert seen <= {200, 400, 401, 422} | ({429} if 401 in seen else set())
