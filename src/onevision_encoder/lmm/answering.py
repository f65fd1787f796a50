"""Questions about pictures and videos, answered: streamed text, exact counts of tokens, times, and the path taken.

Axes: L tokens of a prompt, V vocabulary.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import StoppingCriteriaList, TextStreamer

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.lmm.modeling import OneVisionForConditionalGeneration
from onevision_encoder.lmm.outputs import VLInputs
from onevision_encoder.lmm.processing import OneVisionVLProcessor

Message = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Writing:
    """How an answer is written.

    Attributes:
        max_new_tokens: at most so many. temperature: 0 = always the likeliest token; above it, tokens are drawn.
        top_p: drawn from the likeliest tokens that together have this probability. seed: of the drawing.
        stop: texts before which the answer ends. max_seconds: of writing; None = no limit.
    Raises:
        InvalidArgumentError: a value out of range.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        if type(self.max_new_tokens) is not int or self.max_new_tokens < 1:
            raise InvalidArgumentError("max_new_tokens", self.max_new_tokens, "a whole number of at least 1")
        if not 0 <= self.temperature <= 100:
            raise InvalidArgumentError("temperature", self.temperature, "0 (always the likeliest) to 100")
        if not 0 < self.top_p <= 1:
            raise InvalidArgumentError("top_p", self.top_p, "above 0, at most 1")
        if type(self.seed) is not int or self.seed < 0:
            raise InvalidArgumentError("seed", self.seed, "a whole number of at least 0")
        if not all(isinstance(text, str) and text for text in self.stop):
            raise InvalidArgumentError("stop", self.stop, "texts that are not empty")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise InvalidArgumentError("max_seconds", self.max_seconds, "seconds above 0, or None")

    def options(self) -> dict[str, Any]:
        """Of ``generate``."""
        if self.temperature == 0:
            return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        return {"do_sample": True, "temperature": self.temperature, "top_p": self.top_p, "top_k": 0}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer and what it cost.

    Attributes:
        finish: ``stop`` (the model ended it, or a stop text), ``length``, ``time``, ``cancelled``.
        prompt_tokens: of the prompt, visual ones included. visual_tokens: of them. answer_tokens: written.
        seconds_reading: media and text to inputs. seconds_to_first: from the call to the first new token, reading
            included (TTFT). seconds: from the call to the end.
        media: see :meth:`MediumRecord.as_dict`.
    """

    text: str
    finish: Literal["stop", "length", "time", "cancelled"]
    prompt_tokens: int
    visual_tokens: int
    answer_tokens: int
    seconds_reading: float
    seconds_to_first: float
    seconds: float
    media: tuple[Mapping[str, Any], ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**vars(self), "media": [dict(medium) for medium in self.media]}


def answer(
    model: OneVisionForConditionalGeneration,
    processor: OneVisionVLProcessor,
    messages: Sequence[Message],
    *,
    writing: Writing | None = None,
    tell: Callable[[str], object] | None = None,
    cancelled: Callable[[], bool] | None = None,
    most_prompt: int | None = None,
    template_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> Answer:
    """The model's next turn of a conversation.

    Args:
        messages: see :mod:`..conversation`. writing: None = :class:`Writing` as it is. tell: is given the text piece
            by piece while it is written; the pieces joined are the answer's text. cancelled: asked before the first and
            after each token. most_prompt: tokens that the conversation may have, visual ones included; None = any.
        template_options: for the chat template. options: of the processor's call: ``budget``, ``request_budget``,
            ``video_backend``, ``timestamps`` ...
    Raises:
        MediaError, BudgetError, InvalidArgumentError, PlaceholderError: what the processor raises.
        InvalidArgumentError: a conversation of more tokens than ``most_prompt``.
    """
    writing = writing or Writing()
    started = time.perf_counter()
    inputs = prompt_inputs(model, processor, messages, template_options=template_options, **options)
    length = int(inputs["input_ids"].shape[1])
    if most_prompt is not None and length > most_prompt:
        raise InvalidArgumentError("messages", f"{length} tokens", f"at most {most_prompt}, those of media included")
    words = _Words(processor.tokenizer, writing, tell or _nobody, cancelled or _never)
    read = time.perf_counter()
    words.deadline = None if writing.max_seconds is None else read + writing.max_seconds
    tokenizer = processor.tokenizer
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    if words.cancelled():
        words.reason = "cancelled"
    else:
        _write(model, inputs, words, pad)
    ended = time.perf_counter()
    media = tuple(record.as_dict() for record in inputs.media)
    return Answer(
        text="".join(words.told),
        finish=words.finish(_ends(model)),
        prompt_tokens=length,
        visual_tokens=sum(record.tokens for record in inputs.media),
        answer_tokens=words.tokens,
        seconds_reading=read - started,
        seconds_to_first=(words.first or ended) - started,
        seconds=ended - started,
        media=media,
    )


def _write(model: Any, inputs: VLInputs, words: _Words, pad: int) -> None:
    writing = words.writing
    with torch.inference_mode(), torch.random.fork_rng(_cuda(model.device), enabled=writing.temperature > 0):
        if writing.temperature > 0:
            torch.manual_seed(writing.seed)
        model.generate(
            **inputs,
            max_new_tokens=writing.max_new_tokens,
            streamer=words,
            stopping_criteria=StoppingCriteriaList([words.must_stop]),
            pad_token_id=pad,
            **writing.options(),
        )


def prompt_inputs(
    model: OneVisionForConditionalGeneration,
    processor: OneVisionVLProcessor,
    messages: Sequence[Message],
    *,
    template_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> VLInputs:
    """Inputs of the conversation up to where the model's turn begins, on the model's device."""
    inputs: Any = processor.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=True, template_options=template_options, **options
    )
    moved: VLInputs = inputs.to(model.device)
    return moved


@torch.inference_mode()
def continuation_scores(
    model: OneVisionForConditionalGeneration, processor: OneVisionVLProcessor, inputs: VLInputs, texts: Sequence[str]
) -> list[tuple[float, bool]]:
    """For each text: its log-probability right after the prompt, and whether it is what greedy writing would write.

    The texts are tokenised by themselves, which is how chat templates that end with a newline or a special token
    would have them. Media are encoded once.

    Raises:
        InvalidArgumentError: two texts that the tokenizer cannot tell apart, or one without a token.
    """
    ids = [tuple(processor.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    for i, one in enumerate(ids):
        if not one or one in ids[:i]:
            raise InvalidArgumentError("texts", texts[i], f"texts that are tokens of their own; its tokens: {one}")
    prompt = model(**inputs, use_cache=True, logits_to_keep=1)
    log_first_V = prompt.logits[0, -1].float().log_softmax(-1)
    return [_one_score(model, inputs, prompt.past_key_values, log_first_V, one) for one in ids]


def _one_score(
    model: Any, inputs: VLInputs, cache: Any, log_first_V: Tensor, ids: tuple[int, ...]
) -> tuple[float, bool]:
    total, greedy = float(log_first_V[ids[0]]), int(log_first_V.argmax()) == ids[0]
    if len(ids) == 1:
        return total, greedy
    before_1L = torch.tensor([ids[:-1]], device=log_first_V.device)
    mask_1L = torch.cat([inputs["attention_mask"], torch.ones_like(before_1L)], 1)
    logits_1LV = model(input_ids=before_1L, attention_mask=mask_1L, past_key_values=deepcopy(cache)).logits
    log_LV = logits_1LV[0].float().log_softmax(-1)
    after_L = torch.tensor(ids[1:], device=log_LV.device)
    total += float(log_LV.gather(1, after_L[:, None]).sum())
    return total, greedy and bool((log_LV.argmax(-1) == after_L).all())


class _Words(TextStreamer):
    """Collects what is written, piece by piece, and says when to stop."""

    def __init__(self, tokenizer: Any, writing: Writing, tell: Callable[[str], object], cancelled: Any) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self.writing, self.tell, self.cancelled = writing, tell, cancelled
        self.told: list[str] = []
        self.held, self.tokens, self.last, self.reason = "", 0, -1, ""
        self.first: float | None = None
        self.deadline: float | None = None
        self._prompt_seen = False

    def put(self, value: Tensor) -> None:
        if self._prompt_seen:
            self.tokens += value.numel()
            self.last = int(value.flatten()[-1])
            self.first = self.first or time.perf_counter()
        self._prompt_seen = True
        super().put(value)  # type: ignore[no-untyped-call]

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """What cannot become part of a stop text any more is told."""
        if self.reason == "stop":
            return
        self.held += text
        cuts = [self.held.find(stop) for stop in self.writing.stop if stop in self.held]
        if cuts:
            self.reason = "stop"
            self._tell(self.held[: min(cuts)])
            return
        keep = 0 if stream_end else max((_overlap(self.held, stop) for stop in self.writing.stop), default=0)
        ready, self.held = self.held[: len(self.held) - keep], self.held[len(self.held) - keep :]
        self._tell(ready)

    def _tell(self, text: str) -> None:
        if text:
            self.told.append(text)
            self.tell(text)

    def must_stop(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        """A stopping criterion of ``generate``."""
        if not self.reason and self.cancelled():
            self.reason = "cancelled"
        if not self.reason and self.deadline is not None and time.perf_counter() >= self.deadline:
            self.reason = "time"
        return torch.full((len(input_ids),), bool(self.reason), device=input_ids.device)

    def finish(self, ends: set[int]) -> Any:
        """Why it ended."""
        if self.reason:
            return self.reason
        return "stop" if self.last in ends else "length"


def _overlap(text: str, stop: str) -> int:
    """The longest end of ``text`` that ``stop`` begins with."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-n:])), 0)


def _ends(model: Any) -> set[int]:
    end = model.generation_config.eos_token_id
    return set() if end is None else {end} if isinstance(end, int) else set(end)


def _cuda(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []


def _nobody(_: str) -> None:
    return None


def _never() -> bool:
    return False
