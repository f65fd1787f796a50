"""One processor for images and videos: whatever there is to look at in, model inputs out. No torchvision."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from transformers.processing_utils import ProcessorMixin

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.hub.features import EncoderInputs, Modality, dense_inputs, packed_inputs
from onevision_encoder.hub.image_processor import OneVisionEncoderImageProcessor
from onevision_encoder.hub.options import (
    FRAME_OPTIONS,
    IMAGE_OPTIONS,
    ImageLayout,
    ReturnTensors,
    check_choice,
    check_effect,
    check_options,
    hub_arguments,
    plain,
    settings_among,
    video_config,
    video_options,
)
from onevision_encoder.hub.settings_file import SettingsFile
from onevision_encoder.hub.sources import video_list
from onevision_encoder.model.configuration import PRESETS
from onevision_encoder.model.shipped import DEFAULT
from onevision_encoder.tokens.pipeline import TokenizeConfig, read_clip
from onevision_encoder.types import FrameSequence, PatchTokens

USUAL_BACKEND = "codec"
_ARGUMENTS = ("images", "videos", "video_backend", "layout", "return_tensors", "return_metadata")
_NO_TEXT = "None: the encoder reads images and videos only; text belongs to a language model's own processor"
_SAVED = "videos"  # where the settings of videos lie in processor_config.json


class OneVisionEncoderProcessor(SettingsFile, ProcessorMixin):
    """Images and videos to the inputs of :class:`OneVisionEncoderModel`.

    Args:
        image_processor: for still images; a ``CLIPImageProcessor`` is translated. None = native aspect, at most 1024
            patches, unless ``options`` say otherwise.
        video_backend: what a call does that names neither backend nor policy. ``codec`` = the patches that a codec
            could not predict; ``frames`` = whole frames, as many as ``num_frames`` or ``fps`` of the call say or else
            as a ``budget`` pays for, 16 where nothing says how many; ``tiled`` = whole frames stacked in one tall
            picture. Shorthand for ``policy``, which can be said instead. None = ``codec``.
        options: settings of videos that a call may override: the options of :func:`onevision_encoder.tokenize`. Without
            an ``image_processor``, and in ``from_pretrained``, those that size pictures are for images as well.
    Raises:
        InvalidArgumentError: an option that does not exist, or a value out of range.
    """

    attributes = ["image_processor"]  # noqa: RUF012  (4.57 asks for it; 5 reads the signature)
    image_processor_class = "AutoImageProcessor"
    image_processor: OneVisionEncoderImageProcessor

    def __init__(self, image_processor: Any = None, *, video_backend: str | None = None, **options: Any) -> None:
        if image_processor is None:
            image_processor = OneVisionEncoderImageProcessor(**_sizing(options))
        elif not isinstance(image_processor, OneVisionEncoderImageProcessor):
            image_processor = OneVisionEncoderImageProcessor.from_dict(image_processor.to_dict())
        super().__init__(image_processor)  # type: ignore[no-untyped-call]
        check_options(options, (*video_options(), "video_backend", "image_processor"))
        self.video_backend, self.options = video_backend, plain(options)
        video_config(options, {}, backend=video_backend, usual=USUAL_BACKEND, patch=self.image_processor.patch_size)

    def video_config(self, video_backend: str | None = None, **options: Any) -> TokenizeConfig:
        """How a call with these options reads a video, everything spelt out."""
        return video_config(
            options,
            self.options,
            backend=video_backend,
            usual=self.video_backend or USUAL_BACKEND,
            patch=self.image_processor.patch_size,
        )

    def __call__(
        self,
        images: Any = None,
        text: Any = None,
        videos: Any = None,
        audio: Any = None,
        *,
        video_backend: str | None = None,
        layout: str | None = None,
        return_tensors: str | None = "pt",
        return_metadata: bool = False,
        **options: Any,
    ) -> EncoderInputs:
        """Model inputs: images first, then videos, each in the order given, every one a segment of its own.

        Args:
            images: see :meth:`OneVisionEncoderImageProcessor.preprocess`. text, audio: None.
            videos: a path, URL, bytes or binary file, a uint8 array or tensor [T, H, W, 3] or [T, 3, H, W], a list of
                frames, what ``read_media`` or ``tokenize`` returned; or a list of those.
            video_backend: see the class; what is said here wins.
            layout: ``packed`` [N, D] takes anything together; ``dense`` is [B, 3, H, W] for images and
                [B, 3, T, H, W] for whole frames. None = packed, but images alone as their processor is set.
            return_tensors: ``pt`` (None means it too) or ``np``.
            return_metadata: adds ``inputs.metadata``: frames, times, grids, addresses.
            options: of :func:`onevision_encoder.tokenize`, for videos; ``recipe``, ``max_patches``, ``side``,
                ``merge`` and ``order`` for images too. A size that no recipe here looks at is refused.
        Returns:
            See :class:`EncoderInputs`; ``model(**inputs)`` takes it.
        Raises:
            InvalidArgumentError, MediaError, BudgetError, ShapeError: naming what was meant, where it can be told.
        """
        _check_call(options, text=text, audio=audio, layout=layout, return_tensors=return_tensors)
        if images is None and videos is None:
            raise InvalidArgumentError("images, videos", None, "at least one: images=..., videos=...")
        if videos is None:
            _check_for_images(options, video_backend)
            return self.image_processor.preprocess(
                images, layout=layout, return_tensors=return_tensors, return_metadata=return_metadata, **options
            )
        parts = self._parts(images, videos, video_backend, options)
        make = dense_inputs if layout == "dense" else packed_inputs
        normalization = self.image_processor.normalization
        return make(parts, normalization, return_tensors=return_tensors or "pt", metadata=return_metadata)

    def _parts(
        self, images: Any, videos: Any, backend: str | None, options: Mapping[str, Any]
    ) -> list[tuple[Modality, PatchTokens]]:
        """Tokens of the images, if any, and of the videos."""
        config = self.video_config(backend, **options)
        of_images = [] if images is None else [options.get("recipe", self.image_processor.sizing.recipe)]
        check_effect(options, [config.sizing.recipe, *of_images])
        parts: list[tuple[Modality, PatchTokens]] = []
        if images is not None:
            shared = {name: value for name, value in options.items() if name in IMAGE_OPTIONS}
            parts += [("image", part) for part in self.image_processor.tokens(images, **shared)]
        given = {**options, **({} if backend is None else {"video_backend": backend})}
        parts += [("video", self._video_tokens(video, config, given)) for video in video_list(videos)]
        return parts

    def video_tokens(self, video: Any, *, video_backend: str | None = None, **options: Any) -> PatchTokens:
        """The chosen patches of one video, uint8, before normalisation; arguments as in a call."""
        check_options(options, video_options())
        config = self.video_config(video_backend, **options)
        check_effect(options, [config.sizing.recipe])
        given = {**options, **({} if video_backend is None else {"video_backend": video_backend})}
        (one,) = video_list([video] if not isinstance(video, list | tuple) else video)
        return self._video_tokens(one, config, given)

    def _video_tokens(self, video: Any, config: TokenizeConfig, given: Mapping[str, Any]) -> PatchTokens:
        self._check_made(video, given)
        if isinstance(video, PatchTokens):
            return video
        # The processor's own settings do not come too late: they are not asked of frames made beforehand.
        reading = read_clip(video, config.for_frames(video) if isinstance(video, FrameSequence) else config)
        if reading.frames.source.is_image:
            name = reading.frames.source.name
            raise InvalidArgumentError("videos", name, "a video; for a still image write images=...")
        return reading.tokens()

    def _check_made(self, video: Any, given: Mapping[str, Any]) -> None:
        """Frames and tokens made beforehand: nothing may be asked of them that comes too late."""
        if not isinstance(video, FrameSequence | PatchTokens):
            return
        kind, patch = type(video).__name__, self.image_processor.patch_size
        if video.patch != patch:
            raise ShapeError(f"patch size of the {kind}", video.patch, f"{patch}, that of this processor")
        late = sorted(set(given) if isinstance(video, PatchTokens) else FRAME_OPTIONS & set(given))
        if late:
            raise InvalidArgumentError("videos", kind, f"without {', '.join(late)}: that was decided when it was made")

    @property
    def model_input_names(self) -> list[str]:
        return list(self.image_processor.model_input_names)

    def to_dict(self, **_: Any) -> dict[str, Any]:
        """JSON-ready settings, without ``auto_map``."""
        return {
            "processor_class": type(self).__name__,
            "image_processor": self.image_processor.to_dict(),
            _SAVED: {"video_backend": self.video_backend, **self.options},
        }

    @classmethod
    def get_processor_dict(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Any:
        """Settings of a folder or hub repository; {} where there is no ``processor_config.json``, as of our own."""
        if os.fspath(pretrained_model_name_or_path) in (*PRESETS, DEFAULT):
            return {}, settings_among(kwargs)
        return super().get_processor_dict(pretrained_model_name_or_path, **kwargs)

    @classmethod
    def _get_arguments_from_pretrained(
        cls, pretrained_model_name_or_path: Any, processor_dict: Any = None, **kwargs: Any
    ) -> list[Any]:
        """Our own image processor: the Auto class would give CLIP's for the original's folder."""
        return [OneVisionEncoderImageProcessor.from_pretrained(pretrained_model_name_or_path, **hub_arguments(kwargs))]

    @classmethod
    def from_args_and_dict(cls, args: Any, processor_dict: Mapping[str, Any], **kwargs: Any) -> Any:
        """From an image processor and what :meth:`to_dict` gives; ``kwargs`` win.

        Raises:
            InvalidArgumentError: settings of another processor, options that do not exist.
        """
        return_unused = kwargs.pop("return_unused_kwargs", False)
        kind = processor_dict.get("processor_class", cls.__name__)
        if kind != cls.__name__:
            raise InvalidArgumentError("processor_class", kind, cls.__name__)
        saved = settings_among(processor_dict)
        saved.pop("image_processor", None)  # it is among ``args``
        options = saved.pop(_SAVED, {})
        given = settings_among(kwargs)
        image_processor = given.pop("image_processor", None)
        if image_processor is None and args[0] is not None:
            image_processor = OneVisionEncoderImageProcessor.from_dict({**args[0].to_dict(), **_sizing(given)})
        processor = cls(image_processor, **{**saved, **options, **given})
        return (processor, {}) if return_unused else processor


def _check_call(options: Mapping[str, Any], *, text: Any, audio: Any, layout: Any, return_tensors: Any) -> None:
    for name, value in (("text", text), ("audio", audio)):
        if value is not None:
            raise InvalidArgumentError(name, type(value).__name__, _NO_TEXT)
    check_options(options, (*video_options(), *_ARGUMENTS))
    check_choice("layout", layout, ImageLayout)
    check_choice("return_tensors", return_tensors, ReturnTensors)


def _check_for_images(options: Mapping[str, Any], video_backend: str | None) -> None:
    given = {**options, "video_backend": video_backend} if video_backend is not None else dict(options)
    for name, value in given.items():
        if name not in IMAGE_OPTIONS:
            raise InvalidArgumentError(name, value, f"for videos only; an image takes {', '.join(IMAGE_OPTIONS)}")


def _sizing(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those that an image processor is made with."""
    return {name: value for name, value in options.items() if name in IMAGE_OPTIONS and name != "order"}
