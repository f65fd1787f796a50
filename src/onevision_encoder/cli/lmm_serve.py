"""`ove lmm serve --model DIR`: an OpenAI-compatible endpoint."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

from onevision_encoder.cli.lmm_options import SpeakingOptions
from onevision_encoder.errors import InvalidArgumentError, MissingExtraError


@dataclass(frozen=True, kw_only=True)
class Serve(SpeakingOptions):
    """Answer OpenAI's chat requests (POST /v1/chat/completions), one at a time.

    Media are data: URLs. http(s) URLs of public hosts and files are read only where --remote and --files say so.
    """

    host: str = "127.0.0.1"
    """Address to listen on. There is no password: keep it local, or put a proxy with one before it."""
    port: int = 8000
    """0: any that is free."""
    name: str | None = None
    """What the model is called. Unset: as --model."""
    remote: bool = False
    """Read http and https URLs of hosts on the public internet."""
    files: Path | None = None
    """Read files in this folder, as file:// URLs."""
    max_media_mb: int = 64
    """Of one picture or video."""
    max_body_mb: int = 100
    """Of one request."""
    max_new_tokens: int = 1024
    """An answer has at most so many."""
    max_prompt_tokens: int | None = None
    """Of a conversation, its media included. Unset: as many as the language model has positions."""
    max_frames: int = 512
    """Read of a video."""
    answer_seconds: float = 120.0
    """Of writing an answer."""
    waiting: int = 8
    """Requests that may wait for their turn."""

    def run(self) -> int:
        missing = [name for name in ("fastapi", "uvicorn") if importlib.util.find_spec(name) is None]
        if missing:
            raise MissingExtraError("serve", missing, "ove lmm serve")
        if not 0 <= self.port < 65536:
            raise InvalidArgumentError("port", self.port, "0 to 65535")
        if (frames := self.reading.get("num_frames", 0)) > self.max_frames:
            raise InvalidArgumentError("num_frames", frames, f"at most max_frames, {self.max_frames}")
        import uvicorn

        from onevision_encoder.lmm.allowed_sources import Allowed
        from onevision_encoder.lmm.serving import Limits, make_app

        allowed = Allowed(remote=self.remote, folder=self.files, max_bytes=self.max_media_mb << 20)
        limits = Limits(
            body_bytes=self.max_body_mb << 20,
            frames=self.max_frames,
            prompt_tokens=self.max_prompt_tokens,
            answer_tokens=self.max_new_tokens,
            answer_seconds=self.answer_seconds,
            waiting=self.waiting,
        )
        model, processor = self.load()
        name = self.name or self.model
        app = make_app(model, processor, name=name, allowed=allowed, limits=limits, reading=self.reading)
        most = 4 * (self.waiting + 2)  # connections, idle ones among them
        config = uvicorn.Config(
            app, self.host, self.port, log_level="warning", timeout_graceful_shutdown=5, limit_concurrency=most
        )
        listening = config.bind_socket()
        print(f"ove: {name} on http://{self.host}:{listening.getsockname()[1]}/v1", file=sys.stderr)
        with contextlib.suppress(KeyboardInterrupt):  # the way to stop it
            uvicorn.Server(config).run(sockets=[listening])
        return 0
