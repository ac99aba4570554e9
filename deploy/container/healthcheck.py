"""Whether the web port answers: an exit code for the container's engine.

It imports only what Python itself has, so that it costs little. Any answer of the guard counts, a refusal too: who
asks here has no login. A redirect is an answer, and is not followed.
"""

import http.client
import sys


def main() -> int:
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=5)
    try:
        connection.request("GET", "/login")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        print(f"the web port does not answer: {type(error).__name__}")  # noqa: T201 - what an engine shows
        return 1
    finally:
        connection.close()
    return 0 if status < 500 else 1


if __name__ == "__main__":
    sys.exit(main())
