"""The app's own storage account, by an identity that is not there."""

from __future__ import annotations

import pytest

from shared.errors import JobStorageUnreachable
from shared.jobs.storage import forget_job_storage, job_storage
from shared.settings import load_settings
from tests.integration.fix_identity import ManagedIdentity

pytestmark = pytest.mark.any_server


def test_a_missing_identity_is_said_and_is_one_line_in_the_log(
    managed_identity: ManagedIdentity, caplog: pytest.LogCaptureFixture
) -> None:
    managed_identity.is_refusing = True
    settings = load_settings({"AzureWebJobsStorage__accountName": "account"})
    forget_job_storage()
    with pytest.raises(JobStorageUnreachable) as caught:
        job_storage(settings).table.get_entity("p", "r")
    assert caught.value.message == "the function has no identity to use its own storage account with"
    (line,) = [record.getMessage() for record in caplog.records if "identity" in record.name]
    assert "ManagedIdentityCredential" in line
    assert "\n" not in line
