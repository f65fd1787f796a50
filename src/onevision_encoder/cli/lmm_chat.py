"""`ove lmm chat --model DIR --video x.mp4`: ask about videos and pictures, once or in a conversation."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onevision_encoder.checks import counted
from onevision_encoder.cli.lmm_options import SpeakingOptions
from onevision_encoder.video.damage import damage_words

if TYPE_CHECKING:
    from onevision_encoder.lmm.answering import Answer, Writing


@dataclass(frozen=True, kw_only=True)
class Chat(SpeakingOptions):
    """Ask a language model about videos and pictures; without --question, line by line until an empty one.

    The answer goes to standard output as it is written; what it cost goes to standard error, or all to --json.
    """

    video: tuple[str, ...] = ()
    """Videos: files or URLs."""
    image: tuple[str, ...] = ()
    """Pictures."""
    question: str | None = None
    """One question, one answer. Unset: a conversation, read from standard input."""
    system: str | None = None
    """What the model is told before everything else."""
    max_new_tokens: int = 256
    """An answer has at most so many."""
    temperature: float = 0.0
    """0: always the likeliest token."""
    top_p: float = 1.0
    """With a temperature: tokens are drawn from the likeliest that have this probability together."""
    seed: int = 0
    """Of the drawing."""
    json: bool = False
    """Print a JSON object for each answer, when it is complete."""

    def run(self) -> int:
        from onevision_encoder.lmm.answering import Writing

        writing = Writing(
            max_new_tokens=self.max_new_tokens, temperature=self.temperature, top_p=self.top_p, seed=self.seed
        )
        model, processor = self.load()
        messages: list[dict[str, Any]] = []
        if self.system is not None:
            messages.append({"role": "system", "content": self.system})
        media = [{"type": "video", "path": one} for one in self.video]
        media += [{"type": "image", "path": one} for one in self.image]
        questions = _typed() if self.question is None else iter([self.question])
        for question in questions:
            messages.append({"role": "user", "content": [*media, {"type": "text", "text": question}]})
            media = []
            found = self._answer(model, processor, messages, writing)
            messages.append({"role": "assistant", "content": found.text})
        return 0

    def _answer(self, model: Any, processor: Any, messages: list[dict[str, Any]], writing: Writing) -> Answer:
        from onevision_encoder.lmm.answering import answer

        found = answer(model, processor, messages, writing=writing, tell=None if self.json else _show, **self.reading)
        if self.json:
            print(json.dumps(found.as_dict()), flush=True)
            return found
        print(flush=True)
        paths = ", ".join(f"{medium['name']} ({', '.join(_seen(medium))})" for medium in found.media)
        print(
            f"[{counted(found.prompt_tokens, 'token')} in, {found.visual_tokens} of them visual"
            f"{': ' + paths if paths else ''}; first token after {found.seconds_to_first:.2f} s; "
            f"{found.answer_tokens} out in {found.seconds:.2f} s; {found.finish}]",
            file=sys.stderr,
        )
        return found


def _seen(medium: Mapping[str, Any]) -> list[str]:
    """How a medium was read, and what of it could not be."""
    return [medium["path"], *damage_words(medium["frames_lost"], medium["frames_corrupt"])]


def _show(text: str) -> None:
    print(text, end="", flush=True)


def _typed() -> Any:
    """Lines of standard input until an empty one or its end."""
    while True:
        if sys.stdin.isatty():
            print("> ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline().strip()
        if not line:
            return
        yield line
