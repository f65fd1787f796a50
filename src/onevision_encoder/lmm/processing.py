"""Conversations, texts, images and videos to the inputs of the composed model. No torchvision, no remote code."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from transformers import AutoTokenizer
from transformers.processing_utils import ProcessorMixin

from onevision_encoder.errors import InvalidArgumentError, PlaceholderError
from onevision_encoder.hub.image_processor import OneVisionEncoderImageProcessor
from onevision_encoder.hub.options import check_options, hub_arguments, settings_among, video_options
from onevision_encoder.hub.processor import OneVisionEncoderProcessor
from onevision_encoder.hub.settings_file import SettingsFile
from onevision_encoder.hub.sources import image_list, video_list
from onevision_encoder.lmm.batching import batch_inputs, token_row
from onevision_encoder.lmm.configuration import PATCHES_PER_TOKEN
from onevision_encoder.lmm.conversation import PLACEHOLDERS, answer_spans, apply_edits, is_batch, plain_messages
from onevision_encoder.lmm.media import Medium
from onevision_encoder.lmm.outputs import VLInputs
from onevision_encoder.lmm.reading import Merging, Reading, RequestReader, media_options
from onevision_encoder.types import FrameSequence, PatchTokens

_PER_CALL = ("budget", "request_budget", "timestamps", "group_frames")
_OWN = ("merger", "patches_per_token", *_PER_CALL, "video_backend")
_LANGUAGE, _VIDEOS = "language", "videos"  # where the settings lie in processor_config.json


class OneVisionVLProcessor(SettingsFile, ProcessorMixin):
    """Text with images and videos to the inputs of :class:`OneVisionForConditionalGeneration`.

    Args:
        image_processor: of the encoder; None = native sizes, at most 1024 patches. tokenizer: of the language model,
            with the placeholders (see :func:`add_vision_tokens`); its chat template is used.
        merger: the model's. patches_per_token: with merger ``attention``, how many patches a token stands for.
        budget: tokens of each video, exact, or a share of its patches (``"12.5%"``); None = 12.5 %.
        request_budget: tokens of all media of a request; how it is divided is written in ``reading.py``.
        timestamps: each group of ``group_frames`` frames that has tokens is preceded by its time, ``<0.5s>``.
        video_backend: ``codec`` (None), ``frames`` or ``tiled``. options: of :class:`OneVisionEncoderProcessor`.
            A call, and a part of a conversation, may say otherwise.
    Raises:
        InvalidArgumentError: an option that does not exist, or a value out of range.
    """

    attributes = ["image_processor", "tokenizer"]  # noqa: RUF012  (4.57 asks for it; 5 reads the signature)
    image_processor_class = "AutoImageProcessor"
    tokenizer_class = "AutoTokenizer"
    image_processor: OneVisionEncoderImageProcessor
    tokenizer: Any

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        *,
        merger: str = "2x2",
        patches_per_token: int = 4,
        budget: int | str | None = None,
        request_budget: int | None = None,
        timestamps: bool = False,
        group_frames: int = 1,
        video_backend: str | None = None,
        **options: Any,
    ) -> None:
        if merger not in (*PATCHES_PER_TOKEN, "attention"):
            raise InvalidArgumentError("merger", merger, f"one of {(*PATCHES_PER_TOKEN, 'attention')}")
        for name, value in (("patches_per_token", patches_per_token), ("group_frames", group_frames)):
            if type(value) is not int or value < 1:
                raise InvalidArgumentError(name, value, "an integer of at least 1")
        self.merging = Merging(merger=merger, patches_per_token=patches_per_token)
        check_options(options, media_options(self.merging))
        self.options = options
        self.budget, self.request_budget = budget, request_budget
        self.timestamps, self.group_frames, self.video_backend = timestamps, group_frames, video_backend
        of_pictures = {name: value for name, value in self.merging.layout.items() if name == "merge"}
        if image_processor is not None and of_pictures:
            settings = {**image_processor.to_dict(), **of_pictures}
            image_processor = OneVisionEncoderImageProcessor.from_dict(settings)
        self.media = OneVisionEncoderProcessor(
            image_processor, video_backend=video_backend, **{**options, **self.merging.layout}
        )
        super().__init__(self.media.image_processor, tokenizer)  # type: ignore[no-untyped-call]

    def __call__(
        self,
        images: Any = None,
        text: str | Sequence[str] | None = None,
        videos: Any = None,
        audio: Any = None,
        **options: Any,
    ) -> VLInputs:
        """Model inputs of texts that hold ``<|image_pad|>`` and ``<|video_pad|>``, one for each medium.

        Args:
            images, videos: as for :class:`OneVisionEncoderProcessor`, in the order of their placeholders over all
                texts; entries may be :class:`Medium`. audio: None.
            options: ``budget``, ``request_budget``, ``timestamps``, ``group_frames``, ``video_backend`` and options
                of videos, over those of the processor; ``padding`` (True), ``padding_side`` ("left"), ``truncation``
                (False), ``max_length``, ``add_special_tokens`` (True), ``return_tensors`` ("pt" or "np").
        Returns:
            See :class:`VLInputs`; ``model(**inputs)`` and ``model.generate(**inputs)`` take it.
        Raises:
            PlaceholderError: other media than placeholders, or a text cut inside a medium.
            MediaError, BudgetError, InvalidArgumentError, ShapeError: as for the encoder's processor.
        """
        if text is None or audio is not None:
            raise InvalidArgumentError("text, audio", (text, audio), "text, and no audio")
        texts = [text] if isinstance(text, str) else list(text)
        return self._inputs(texts, _by_text(texts, _media("image", images), _media("video", videos)), options)

    def apply_chat_template(  # type: ignore[override]
        self,
        conversation: Sequence[Any],
        chat_template: str | None = None,
        *,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        tokenize: bool = False,
        return_dict: bool = True,
        return_assistant_tokens_mask: bool = False,
        tools: Any = None,
        template_options: Mapping[str, Any] | None = None,
        processor_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """A conversation, or a list of them, as text, or as model inputs with ``tokenize=True``.

        Args:
            conversation: messages as :mod:`..conversation` describes them; media are opened with ``tokenize=True``.
            chat_template: None = the tokenizer's. template_options: for the template (``enable_thinking`` ...).
            return_assistant_tokens_mask: adds ``assistant_masks`` int64 [B, L]: 1 on the tokens of answers, their end
                mark included. For labels. return_dict: False = ``input_ids`` alone.
            options: of a call (see :meth:`__call__`); transformers 5 puts them into ``processor_kwargs``.
        Raises:
            InvalidArgumentError: no chat template, parts that are not understood. And what a call raises.
        """
        batch = list(conversation) if is_batch(conversation) else [conversation]
        plain = [plain_messages(messages) for messages in batch]

        def render(messages: Sequence[Any], prompt: bool, **more: Any) -> str:
            return self._render(messages, chat_template, prompt, {**(template_options or {}), **more, "tools": tools})

        more = {"continue_final_message": True} if continue_final_message else {}
        texts = [render(messages, add_generation_prompt, **more) for messages, _ in plain]
        if not tokenize:
            return texts if is_batch(conversation) else texts[0]
        spans = [answer_spans(render, messages) for messages, _ in plain] if return_assistant_tokens_mask else None
        options = {"add_special_tokens": False, **(processor_kwargs or {}), **options}
        inputs = self._inputs(texts, [media for _, media in plain], options, spans)
        return inputs if return_dict else inputs["input_ids"]

    def _render(self, messages: Sequence[Any], template: str | None, prompt: bool, options: Mapping[str, Any]) -> str:
        if not messages:
            return ""
        if template is None:
            self.require_chat_template()
        rendered: str = self.tokenizer.apply_chat_template(
            list(messages), chat_template=template, add_generation_prompt=prompt, tokenize=False, **options
        )
        return rendered

    def require_chat_template(self) -> None:
        """Raises InvalidArgumentError where the tokenizer has none, as those of many base models."""
        if self.tokenizer.chat_template is None:
            allowed = "a template, which this tokenizer lacks: ove lmm make --chat-template FILE gives it one"
            raise InvalidArgumentError("chat_template", None, allowed)

    def _inputs(
        self,
        texts: Sequence[str],
        media: Sequence[Sequence[Medium]],
        options: Mapping[str, Any],
        spans: Sequence[Sequence[tuple[int, int]]] | None = None,
    ) -> VLInputs:
        given = dict(options)
        batching = {name: given.pop(name) for name in _BATCHING if name in given}
        return_tensors = given.pop("return_tensors", None) or "pt"
        reader = self._reader(given)
        readings = [reader.read(items) for items in media]
        rows = []
        for i, (text, read) in enumerate(zip(texts, readings, strict=True)):
            edits = [
                (match.start(), match.end(), _words(match[0], reading))
                for match, reading in zip(_placeholders(text, len(read)), read, strict=True)
            ]
            whole, moved = apply_edits(text, edits, [] if spans is None else spans[i])
            rows.append(token_row(self.tokenizer, whole, None if spans is None else moved, batching))
        return batch_inputs(
            self.tokenizer,
            rows,
            readings,
            normalize=self.image_processor.normalization,
            merging=self.merging,
            options=batching,
            return_tensors=return_tensors,
        )

    def _reader(self, given: dict[str, Any]) -> RequestReader:
        check_options(given, (*media_options(self.merging), *_PER_CALL, *_CALL))
        own = {name: given.pop(name, getattr(self, name)) for name in _PER_CALL}
        return RequestReader(reader=self.media, merging=self.merging, options=given, **own)

    @property
    def model_input_names(self) -> list[str]:
        return ["input_ids", "attention_mask", *self.image_processor.model_input_names]

    def to_dict(self, **_: Any) -> dict[str, Any]:
        """JSON-ready settings, without ``auto_map`` and without the tokenizer, which has its own files."""
        own = {**vars(self), "merger": self.merging.merger, "patches_per_token": self.merging.patches_per_token}
        return {
            "processor_class": type(self).__name__,
            "image_processor": self.image_processor.to_dict(),
            _LANGUAGE: {name: own[name] for name in _OWN},
            _VIDEOS: dict(self.options),
        }

    @classmethod
    def get_processor_dict(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Any:
        """As in transformers; a pipeline hands over the model's arguments (``dtype`` ...) too, which are left out."""
        if kwargs.pop("_from_pipeline", None) is not None:
            known = (*_OWN, *video_options())
            kwargs = {name: value for name, value in kwargs.items() if name in known or not settings_among({name: 0})}
        return super().get_processor_dict(pretrained_model_name_or_path, **kwargs)

    @classmethod
    def _get_arguments_from_pretrained(
        cls, pretrained_model_name_or_path: Any, processor_dict: Any = None, **kwargs: Any
    ) -> list[Any]:
        where, name = hub_arguments(kwargs), os.fspath(pretrained_model_name_or_path)
        tokenizer = AutoTokenizer.from_pretrained(name, **where)
        return [OneVisionEncoderImageProcessor.from_pretrained(name, **where), tokenizer]

    @classmethod
    def from_args_and_dict(cls, args: Any, processor_dict: Mapping[str, Any], **kwargs: Any) -> Any:
        """From an image processor, a tokenizer and what :meth:`to_dict` gives; ``kwargs`` win.

        Raises:
            InvalidArgumentError: settings of another processor, options that do not exist.
        """
        return_unused = kwargs.pop("return_unused_kwargs", False)
        kind = processor_dict.get("processor_class", cls.__name__)
        if kind != cls.__name__:
            raise InvalidArgumentError("processor_class", kind, cls.__name__)
        saved = {**processor_dict.get(_LANGUAGE, {}), **processor_dict.get(_VIDEOS, {})}
        processor = cls(*args, **{**saved, **settings_among(kwargs)})
        return (processor, {}) if return_unused else processor


_BATCHING = ("padding", "padding_side", "truncation", "max_length", "add_special_tokens")
_CALL = ("video_backend", *_BATCHING, "return_tensors")


def _media(modality: Any, given: Any) -> list[Medium]:
    if given is None or (isinstance(given, list | tuple) and not given):
        return []
    if isinstance(given, list | tuple) and any(isinstance(one, Medium | list | tuple) for one in given):
        return [medium for one in given for medium in _media(modality, one)]
    if isinstance(given, Medium):
        return [given]
    split: Callable[[Any], list[Any]] = image_list if modality == "image" else video_list
    if isinstance(given, PatchTokens | FrameSequence):
        return [Medium(modality=modality, source=given)]
    return [Medium(modality=modality, source=source) for source in split(given)]


def _by_text(texts: Sequence[str], images: list[Medium], videos: list[Medium]) -> list[list[Medium]]:
    """The media of each text, by its placeholders."""
    waiting = {"image": list(images), "video": list(videos)}
    shared: list[list[Medium]] = []
    found = dict.fromkeys(waiting, 0)
    for text in texts:
        mine = []
        for match in PLACEHOLDERS.finditer(text):
            kind = "image" if "image" in match[0] else "video"
            found[kind] += 1
            if waiting[kind]:
                mine.append(waiting[kind].pop(0))
        shared.append(mine)
    for kind, given in (("image", images), ("video", videos)):
        if found[kind] != len(given):
            raise PlaceholderError(found[kind], len(given), f"one placeholder of the text for each {kind} is wanted")
    return shared


def _placeholders(text: str, count: int) -> list[Any]:
    found = list(PLACEHOLDERS.finditer(text))
    if len(found) != count:
        raise PlaceholderError(len(found), count, "the chat template dropped or repeated media")
    return found


def _words(placeholder: str, reading: Reading) -> str:
    """What a placeholder becomes: one for each token, with the time before each frame group."""
    if reading.groups is None:
        return placeholder * len(reading.unit_lengths)
    return "".join(f"<{seconds:.1f}s>{placeholder * tokens}" for seconds, tokens in reading.groups)
