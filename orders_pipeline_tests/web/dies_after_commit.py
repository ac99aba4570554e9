"""`orders-pipeline web` whose process is killed between the commit of its first webhook and the answer."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping

from starlette.responses import Response

from orders_pipeline.cli.main import main
from orders_pipeline.web import process
from orders_pipeline.web.webhooks import Webhooks


class _Dies(Webhooks):
    def _take(self, headers: Mapping[str, str], body: bytes) -> Response:
        answer = super()._take(headers, body)
        assert answer.status_code == 204
        os.kill(os.getpid(), signal.SIGKILL)
        return answer


if __name__ == "__main__":
    process.Webhooks = _Dies
    main()
