"""uvicorn with a bare application that reads the body and answers 400 bytes: `python uvicorn_app.py - PORT`."""

import sys

import uvicorn

ANSWER = bytes(400)
HEADERS = [(b"content-type", b"application/octet-stream"), (b"content-length", b"400")]


async def app(scope, receive, send) -> None:
    """Nothing is computed."""
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", lifespan="off", access_log=False)
