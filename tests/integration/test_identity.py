from __future__ import annotations

import pytest
from azure.core.exceptions import ClientAuthenticationError

from shared.identity import CHINA, CLOUDS, GOVERNMENT, PUBLIC, own_identity
from tests.integration.fix_identity import ManagedIdentity
from tests.integration.fix_threads import at_once

pytestmark = pytest.mark.any_server

SCOPE = "https://storage.azure.com/.default"
RESOURCE = "https://storage.azure.com"


def test_the_token_is_fetched_once_and_kept(managed_identity: ManagedIdentity) -> None:
    tokens = {own_identity(PUBLIC).get_token(SCOPE).token for _ in range(5)}
    assert tokens == {managed_identity.token}
    assert managed_identity.tokens_given == [(RESOURCE, None)]


def test_each_resource_has_a_token_of_its_own(managed_identity: ManagedIdentity) -> None:
    for _ in range(2):
        for cloud in CLOUDS:
            own_identity(cloud).get_token(cloud.postgres_scope)
    resources = [cloud.postgres_scope.removesuffix("/.default") for cloud in CLOUDS]
    assert managed_identity.tokens_given == [(resource, None) for resource in resources]


@pytest.mark.parametrize(("lifetime_seconds", "asked"), [(600, 1), (299, 4), (1, 4)])
def test_a_token_is_fetched_again_before_it_ends(
    managed_identity: ManagedIdentity, lifetime_seconds: int, asked: int
) -> None:
    """Five minutes before, so that it outlives the longest wait for a connection."""
    managed_identity.lifetime_seconds = lifetime_seconds
    for number in range(4):
        managed_identity.token = f"token {number}"
        token = own_identity(PUBLIC).get_token(SCOPE).token
        assert token == ("token 0" if asked == 1 else f"token {number}")
    assert len(managed_identity.tokens_given) == asked


def test_a_user_assigned_identity_is_asked_for_by_its_client_id(
    managed_identity: ManagedIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_CLIENT_ID", "0b1f6471-1bf0-4dda-aec3-cb9272f09590")
    own_identity(PUBLIC).get_token(SCOPE)
    assert managed_identity.tokens_given == [(RESOURCE, "0b1f6471-1bf0-4dda-aec3-cb9272f09590")]


def test_a_credential_is_made_once_by_many_threads(managed_identity: ManagedIdentity) -> None:
    made = at_once(8, lambda: own_identity(PUBLIC))
    assert len(set(map(id, made))) == 1
    assert managed_identity.tokens_given == []


def test_each_cloud_has_a_credential_of_its_own(managed_identity: ManagedIdentity) -> None:
    made = {id(own_identity(cloud)) for cloud in (PUBLIC, GOVERNMENT, CHINA)}
    assert len(made) == 3
    assert managed_identity.tokens_given == []


def test_who_has_no_identity_gets_no_token(managed_identity: ManagedIdentity) -> None:
    managed_identity.is_refusing = True
    with pytest.raises(ClientAuthenticationError):
        own_identity(PUBLIC).get_token(SCOPE)
    assert managed_identity.refusals > 0
