"""``clearcut jobs retry``: which jobs and webhooks it repeats, and what it prints."""

import pytest

from clearcut.cli.jobs import _retry
from clearcut.imaging.options import RemoveOptions
from clearcut.jobs.types import JobSpec, JobView

SPEC = JobSpec(
    dialect="apiframe", options=RemoveOptions(), field="image", accepted=1.5, base="https://a.example", request_id="r",
    fingerprint="f",
)  # fmt: skip


class QueueClient:
    """Records the workflows that are started again."""

    def __init__(self):
        self.repeated = []

    def delete_workflows(self, workflow_ids):
        pass

    def rewind_workflow(self, workflow_id, **_):
        self.repeated.append(workflow_id)


@pytest.mark.parametrize(
    ("state", "webhook", "repeated", "text"),
    [
        ("failed", None, "job", "processed again"),
        ("completed", "failed", "job-hook", "webhook will be sent again"),
        ("completed", "sent", "job-hook", "webhook will be sent again"),
        ("completed", "pending", None, "webhook of the job is being sent"),
        ("completed", None, None, "has no webhook to send"),
        ("processing", None, None, "the job is processing and cannot be retried"),
    ],
)
def test_retry_prints_what_it_repeats(capsys, state, webhook, repeated, text):
    client = QueueClient()
    code = _retry(client, JobView("job", SPEC, state, webhook_state=webhook))
    output = capsys.readouterr()
    assert client.repeated == ([repeated] if repeated else [])
    assert code == (0 if repeated else 1)
    assert text in (output.out if repeated else output.err)
    assert (output.out + output.err).count("\n") == 1
