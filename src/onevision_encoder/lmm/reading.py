"""From the media of one request to patches and tokens: budgets, merging, frame groups.

Budgets count tokens of the language model. A request's budget is divided so:

1. Images, videos with a budget of their own and tokens made beforehand cost what they cost; an image is sized to at
   most an equal share of the request (its budget divided by the number of its media).
2. What is left goes to the other videos in equal parts, exactly: the first of them takes the rest divided by their
   number, rounded up, and so on with what is left after it. What a clip too short for its part leaves
   (``short="cap"``) goes to those after it.

Axes: K patches of a medium, M its tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.errors import BudgetError, InvalidArgumentError, ShapeError
from onevision_encoder.hub.options import IMAGE_OPTIONS, check_options, video_options
from onevision_encoder.hub.processor import OneVisionEncoderProcessor
from onevision_encoder.lmm.configuration import PATCHES_PER_TOKEN
from onevision_encoder.lmm.media import IMPORT_OPTIONS, Medium, OpenedMedium, open_image, open_video
from onevision_encoder.lmm.units import equal_units, share_out
from onevision_encoder.selection.budget import parse_budget
from onevision_encoder.tokens.canvases import are_whole_blocks
from onevision_encoder.tokens.ordering import reorder
from onevision_encoder.types import PatchTokens

_ACCEPTED = "a whole number of tokens above 0, or a share of the patches above 0% and up to 100% such as '12.5%'"
_LAYOUTS: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "2x2": {"merge": 2, "order": "block2"},
    "attention": {"order": "block2"},
}


@dataclass(frozen=True, kw_only=True)
class Merging:
    """How patches become tokens: see :class:`~.configuration.OneVisionVLConfig`.

    ``patches_per_token``: of merger ``attention``, which leaves it open; the others have their own.
    """

    merger: str
    patches_per_token: int

    @property
    def ratio(self) -> int:
        return PATCHES_PER_TOKEN.get(self.merger, self.patches_per_token)

    @property
    def layout(self) -> dict[str, Any]:
        """Options of reading that the merger decides: neighbours of a frame must be neighbours in the pack. The
        encoder's processor has them as its own."""
        return dict(_LAYOUTS[self.merger])

    def count(self, patches: int) -> int:
        """Tokens of so many patches."""
        return max(1, patches // self.ratio)


def media_options(merging: Merging) -> tuple[str, ...]:
    """Options of videos that are not the merger's own affair; the budget is counted in tokens and goes by itself."""
    return tuple(name for name in video_options() if name not in merging.layout and name != "budget")


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """A medium, read.

    Attributes:
        tokens: its K patches. unit_lengths: patches of each of its M tokens. groups: (seconds, tokens) of each frame
            group that has any, in order; None without timestamps.
    """

    medium: Medium
    tokens: PatchTokens
    path: str
    unit_lengths: tuple[int, ...]
    groups: tuple[tuple[float, int], ...] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class RequestReader:
    """Reads the media of a request.

    Attributes:
        options: of the call, for every medium. budget: tokens of each video, or a share of its patches such as
            ``"12.5%"``; None = as the encoder's processor says. request_budget: see the module; None = none.
        timestamps: whether videos are cut into groups of ``group_frames`` frames.
    """

    reader: OneVisionEncoderProcessor
    merging: Merging
    options: Mapping[str, Any]
    budget: int | str | None
    request_budget: int | None
    timestamps: bool
    group_frames: int

    def read(self, media: Sequence[Medium]) -> list[Reading]:
        """The media in their order.

        Raises:
            BudgetError: a budget that cannot be met. And what reading raises.
        """
        if self.request_budget is None:
            return [self._read(medium, None) for medium in media]
        return self._read_within(media, self.request_budget)

    def _read_within(self, media: Sequence[Medium], total: int) -> list[Reading]:
        if type(total) is not int or total < len(media):
            raise BudgetError("request_budget", total, f"a whole number of tokens, at least {len(media)}: one a medium")
        readings: dict[int, Reading] = {}
        left = total
        waiting = [i for i, medium in enumerate(media) if self._waits(medium)]
        for i, medium in enumerate(media):
            if i not in waiting:
                limit = total // len(media) if medium.modality == "image" and not medium.is_made else None
                readings[i] = self._read(medium, limit)
                left -= len(readings[i].unit_lengths)
        if left < len(waiting):
            cost = total - left
            allowed = f"at least {cost + len(waiting)}: images and media with a fixed cost take {cost} tokens"
            raise BudgetError("request_budget", total, allowed)
        for rank, i in enumerate(waiting):
            readings[i] = self._read(media[i], -(-left // (len(waiting) - rank)))
            left -= len(readings[i].unit_lengths)
        return [readings[i] for i in range(len(media))]

    def _waits(self, medium: Medium) -> bool:
        return medium.modality == "video" and not medium.is_made and "budget" not in medium.options

    def _read(self, medium: Medium, limit: int | None) -> Reading:
        opened = self._image(medium, limit) if medium.modality == "image" else self._video(medium, limit)
        tokens = self._laid_out(opened.tokens)
        length = len(tokens)
        if medium.modality == "image" and limit is not None and self.merging.count(length) > limit:
            raise BudgetError("request_budget", self.request_budget, f"more: {opened.path} has {length} patches")
        if not self.timestamps or medium.modality == "image":
            units = equal_units(length, self.merging.count(length))
            return Reading(medium=medium, tokens=tokens, path=opened.path, unit_lengths=tuple(units), groups=None)
        seconds, lengths = frame_groups(tokens, self.group_frames)
        if self.merging.merger == "attention":
            shares = share_out(self.merging.count(length), lengths)
        else:
            shares = [n // self.merging.ratio for n in lengths]
        units = [unit for n, share in zip(lengths, shares, strict=True) for unit in equal_units(n, share)]
        groups = tuple(zip(seconds, shares, strict=True))
        return Reading(medium=medium, tokens=tokens, path=opened.path, unit_lengths=tuple(units), groups=groups)

    def _image(self, medium: Medium, limit: int | None) -> OpenedMedium:
        shared = {name: value for name, value in self.options.items() if name in IMAGE_OPTIONS}
        check_options(medium.options, set(IMAGE_OPTIONS) - set(self.merging.layout))
        options = {**shared, **medium.options, **{k: v for k, v in self.merging.layout.items() if k == "order"}}
        sizing = self.reader.image_processor.sizing
        if limit is not None and options.get("recipe", sizing.recipe) == "native":
            options["max_patches"] = min(options.get("max_patches", sizing.max_patches), limit * self.merging.ratio)
        return open_image(self.reader, medium.source, options)

    def _video(self, medium: Medium, limit: int | None) -> OpenedMedium:
        if medium.is_made:
            late = sorted(set(medium.options) - set(IMPORT_OPTIONS))
            if late:
                raise InvalidArgumentError("video", "tokens", f"without {', '.join(late)}: that was decided before")
            return open_video(self.reader, medium.source, medium.options)
        check_options(medium.options, (*media_options(self.merging), "budget", "video_backend"))
        options = {**self.options, **medium.options}
        budget = options.pop("budget", self.budget)
        budget = limit if limit is not None else budget
        if budget is None:
            return open_video(self.reader, medium.source, options)
        try:
            return open_video(self.reader, medium.source, {**options, "budget": self._patches(budget)})
        except BudgetError as error:
            if error.available is None:
                raise
            allowed = f"1 to {self.merging.count(error.available)} tokens: all that it has; short 'cap' takes those"
            raise BudgetError("budget", budget, allowed, available=error.available) from error

    def _patches(self, budget: int | str) -> int | str:
        """A number of tokens as patches; a share is a share."""
        try:
            parsed = parse_budget(budget)
        except BudgetError as error:
            raise BudgetError("budget", budget, _ACCEPTED) from error
        return parsed * self.merging.ratio if isinstance(parsed, int) else budget

    def _laid_out(self, tokens: PatchTokens) -> PatchTokens:
        """In the order of the merger; raises ShapeError where there are no whole blocks to merge."""
        order = self.merging.layout.get("order")
        if order is None:
            return tokens
        if tokens.clips[0].order != order:
            tokens = reorder(tokens, order)
        if self.merging.merger == "2x2" and (len(tokens) % 4 or not are_whole_blocks(tokens.positions_N3, 2)):
            found = f"{len(tokens)} patches of {tokens.clips[0].name}, not all in whole 2x2 blocks"
            raise ShapeError("tokens", found, "tokens read with merge=2; or merger='none' or 'attention'")
        return tokens


def frame_groups(tokens: PatchTokens, group_frames: int) -> tuple[list[float], list[int]]:
    """Seconds and patches of each group of ``group_frames`` neighbouring frames that has patches, in order.

    Raises:
        InvalidArgumentError: the clip's times are no seconds (imported, with no rate known).
    """
    clip = tokens.clips[0]
    if str(clip.provenance.get("pts_seconds", "seconds")).startswith("slots"):
        raise InvalidArgumentError("timestamps", True, f"False, or fps=...: {clip.name} does not tell its times")
    group_K: NDArray[np.int64] = tokens.positions_N3[:, 0].astype(np.int64) // group_frames
    groups, lengths = np.unique(group_K, return_counts=True)
    if (np.diff(group_K) < 0).any():
        raise ShapeError("tokens", "rows out of time order", "rows sorted by frame")
    return [float(clip.pts_seconds_T[g * group_frames]) for g in groups], lengths.tolist()
