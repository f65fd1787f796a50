"""The model that lmms-eval (0.7) asks: a chat model by its documented interface. Only lmms-eval imports this module.

What cannot be read or answered raises: lmms-eval scores an empty answer as a wrong one, without a word.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms
from lmms_eval.models.model_utils.gen_metrics import log_metrics
from tqdm import tqdm

from onevision_encoder.errors import InvalidArgumentError, MediaError
from onevision_encoder.lmm.answering import Writing, answer, continuation_scores, prompt_inputs
from onevision_encoder.lmm.loading import load_language_model

_READING = (
    *("budget", "request_budget", "video_backend", "num_frames", "short", "timestamps", "group_frames", "max_patches"),
)


class OneVisionLmms(lmms):  # type: ignore[misc]
    """``--model onevision_encoder --model_args pretrained=DIR,budget=256,video_backend=codec``.

    Args:
        pretrained: folder or hub id. batch_size: 1; a budget makes samples of one size, but answers are streamed one
            by one. device, dtype, attention: see :func:`load_language_model`. system_prompt: text or a file.
        log: a JSONL file for tokens, times and the path of each sample. options: of the processor's call (budget ...).
    Raises:
        InvalidArgumentError: an option that does not exist, another batch size.
    """

    is_simple = False

    def __init__(
        self,
        pretrained: str,
        *,
        device: str = "auto",
        dtype: str = "auto",
        attention: str | None = None,
        batch_size: int | str = 1,
        system_prompt: str = "",
        log: str | None = None,
        max_batch_size: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if int(batch_size) != 1:
            raise InvalidArgumentError("batch_size", batch_size, "1")
        unknown = sorted(set(options) - set(_READING))
        if unknown:
            raise InvalidArgumentError("model_args", ", ".join(unknown), f"pretrained, ..., {', '.join(_READING)}")
        self._rank = int(os.environ.get("RANK", "0"))
        self._world_size = int(os.environ.get("WORLD_SIZE", "1"))
        if device == "auto" and self._world_size > 1:
            device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        self._model, self.processor = load_language_model(pretrained, device=device, dtype=dtype, attention=attention)
        self.reading = {name: value for name, value in options.items() if value is not None}
        self.system_prompt = self._resolve_system_prompt(system_prompt)
        self.log = log
        self.batch_size = 1

    @property
    def model(self) -> Any:
        return self._model

    @property
    def device(self) -> Any:
        return self._model.device

    def generate_until(self, requests: list[Instance]) -> list[Any]:
        """A text for each request, with its tokens counted."""
        results, seconds, tokens, first = [], 0.0, 0, []
        for request in tqdm(requests, desc="answers", disable=self.rank != 0):
            context, to_messages, options, doc_id, task, split = request.args
            messages = self._messages(to_messages(self.task_dict[task][split][doc_id]))
            found = answer(self._model, self.processor, messages, writing=_writing(options), **self.reading)
            seconds += found.seconds
            tokens += found.answer_tokens
            first.append(found.seconds_to_first)
            self._record(task, doc_id, vars(found))
            counts = TokenCounts(input_tokens=found.prompt_tokens, output_tokens=found.answer_tokens)
            results.append(GenerationResult(text=found.text, token_counts=counts))
            self.cache_hook.add_partial("generate_until", (context, options), found.text)
        if first:
            more = {"mean seconds to first token": sum(first) / len(first), "rank": self.rank}
            log_metrics(
                total_elapsed_time=seconds,
                total_gen_tokens=tokens,
                avg_speed=tokens / seconds,
                additional_metrics=more,
            )
        return results

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """(log-probability, whether greedy) of each continuation after its context and media."""
        results = []
        for request in tqdm(requests, desc="likelihoods", disable=self.rank != 0):
            context, to_target, to_visual, doc_id, task, split = request.args
            doc = self.task_dict[task][split][doc_id]
            target = to_target if isinstance(to_target, str) else to_target(doc)
            parts = [_part(one) for one in (to_visual(doc) if to_visual else None) or []]
            content = [*parts, {"type": "text", "text": context}]
            messages = self._messages([{"role": "user", "content": content}])
            inputs = prompt_inputs(self._model, self.processor, messages, **self.reading)
            started = time.perf_counter()
            results += continuation_scores(self._model, self.processor, inputs, [target])
            media = [record.as_dict() for record in inputs.media]
            self._record(task, doc_id, {"seconds": time.perf_counter() - started, "media": media})
        return results

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        """Not offered: raises InvalidArgumentError."""
        raise InvalidArgumentError("task", "of several rounds", "generate_until or loglikelihood")

    def _messages(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Ours of lmms-eval's: parts ``{"type": "image" | "video", "url": ...}`` keep their times."""
        ours = []
        for message in messages:
            content = message["content"]
            parts = (
                [{"type": "text", "text": content}] if isinstance(content, str) else [_message_part(p) for p in content]
            )
            ours.append({"role": message["role"], "content": parts})
        applied: list[dict[str, Any]] = self._apply_system_prompt(ours, self.system_prompt)
        return applied

    def _record(self, task: str, doc_id: Any, found: Mapping[str, Any]) -> None:
        if self.log is None:
            return
        kept = ("modality", "name", "path", "frames", "patches", "tokens")
        media = [{name: medium[name] for name in kept} for medium in found["media"]]
        rest = {name: value for name, value in found.items() if name not in ("text", "media")}
        path = self.log if self._world_size == 1 else f"{self.log}.{self._rank}"
        with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123
            file.write(json.dumps({"task": task, "id": doc_id, **rest, "media": media}, default=str) + "\n")


def _message_part(part: Mapping[str, Any]) -> dict[str, Any]:
    if part["type"] == "text":
        return {"type": "text", "text": part["text"]}
    if part["type"] not in ("image", "video"):
        raise InvalidArgumentError("content", part["type"], "text, image or video")
    times = {"start_time": "start_seconds", "end_time": "end_seconds"}
    found = {ours: part[theirs] for theirs, ours in times.items() if part.get(theirs) is not None}
    return {"type": part["type"], part["type"]: part["url"], **found}


def _part(visual: Any) -> dict[str, Any]:
    """What a task calls a visual: a path is a video unless its name is that of a picture; anything else a picture."""
    if isinstance(visual, dict):
        raise MediaError("visual", f"a dict with {', '.join(map(str, visual))}; a path or a picture is wanted")
    pictures = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
    kind = "video" if isinstance(visual, str) and not visual.lower().endswith(pictures) else "image"
    return {"type": kind, kind: visual}


def _writing(options: Mapping[str, Any]) -> Writing:
    """lmms-eval's generation options; those of beams are not offered."""
    given = dict(options)
    until = given.pop("until", None) or ()
    beams = given.pop("num_beams", 1)
    if beams not in (None, 1):
        raise InvalidArgumentError("num_beams", beams, "1")
    draws = given.pop("do_sample", None)
    temperature = given.pop("temperature", None) or 0.0
    return Writing(
        max_new_tokens=int(given.pop("max_new_tokens", None) or 1024),
        temperature=0.0 if draws is False else float(temperature),
        top_p=float(given.pop("top_p", None) or 1.0),
        stop=(until,) if isinstance(until, str) else tuple(until),
    )
