"""Typed errors and warnings. Every failure of the library is an :class:`OneVisionError` that names the file or
the argument, the value that was found, and what would have been accepted."""

from __future__ import annotations

from collections.abc import Iterable


class OneVisionError(Exception):
    """Base of every error the library raises on purpose."""


class InvalidArgumentError(OneVisionError, ValueError):
    """An argument has a value outside what is accepted.

    Args:
        name: the argument's name as the caller wrote it.
        value: what was given.
        allowed: what would have been accepted, in words (a range, a list of choices).
    """

    def __init__(self, name: str, value: object, allowed: str) -> None:
        self.name, self.value, self.allowed = name, value, allowed
        super().__init__(f"{name}={value!r} is not accepted: {allowed}")


class BudgetError(InvalidArgumentError):
    """A token budget that cannot be met exactly by the frames at hand.

    ``available``: the patches there are, where the budget asks for more of them; else None.
    """

    def __init__(self, name: str, value: object, allowed: str, *, available: int | None = None) -> None:
        super().__init__(name, value, allowed)
        self.available = available


class ShapeError(InvalidArgumentError):
    """Arrays that belong together have shapes, sizes or dtypes that do not fit."""


class MediaError(OneVisionError):
    """A media source cannot be used.

    Args:
        source: path, URL or a description of the bytes.
        cause: what is wrong with it, in words.
    """

    def __init__(self, source: object, cause: str) -> None:
        self.source, self.cause = str(source), cause
        super().__init__(f"{self.source}: {cause}")


class MediaNotFoundError(MediaError, FileNotFoundError):
    """The path does not exist."""

    def __str__(self) -> str:  # OSError would print its own (errno, text) form
        return f"{self.source}: {self.cause}"


class UnreadableMediaError(MediaError):
    """The source exists but is no media file, or is too damaged to open."""


class NoVideoStreamError(MediaError):
    """The container holds no video stream (an audio file, say)."""


class UnsupportedCodecError(MediaError):
    """No decoder for the stream's codec in this build of FFmpeg."""


class DecodeError(MediaError):
    """Not one frame that was asked for could be decoded."""


class SignalUnavailableError(OneVisionError):
    """A provider cannot give the signal that was asked for.

    Args:
        provider: name of the provider.
        signal: what was asked of it.
        alternatives: names (providers, scores) that would work.
    """

    def __init__(self, provider: str, signal: str, cause: str, alternatives: Iterable[str] = ()) -> None:
        self.provider, self.signal, self.cause = provider, signal, cause
        self.alternatives = tuple(alternatives)
        hint = f"; use {' or '.join(self.alternatives)}" if self.alternatives else ""
        super().__init__(f"provider {provider!r} cannot give {signal}: {cause}{hint}")


class PlaceholderError(OneVisionError, ValueError):
    """Placeholders in a text and visual tokens do not fit each other (a prompt was cut, media are missing ...).

    Args:
        found: placeholders in the text. expected: visual tokens, or placeholders before the text was cut.
        cause: where, and what to do about it, in words.
    """

    def __init__(self, found: int, expected: int, cause: str) -> None:
        self.found, self.expected, self.cause = found, expected, cause
        super().__init__(f"{found} placeholders for {expected} visual tokens: {cause}")


class ConversationFileError(OneVisionError):
    """Lines of a file of conversations cannot be used.

    Args:
        path: the file. problems: (number of the line, from 1; what is wrong with it), all of them.
        total: lines with a conversation, good ones and bad.
    """

    def __init__(self, path: object, problems: Iterable[tuple[int, str]], total: int) -> None:
        self.path, self.problems, self.total = str(path), tuple(problems), total
        lines = "".join(f"\n  line {number}: {cause}" for number, cause in self.problems)
        super().__init__(f"{self.path}: {len(self.problems)} of {total} lines cannot be used{lines}")


class BrokenSamplesError(OneVisionError):
    """Conversations that cannot be trained on: their media cannot be read, or they are too long.

    Args:
        path: the file of conversations. problems: (number of the line, what is wrong with it), all of them.
    """

    def __init__(self, path: object, problems: Iterable[tuple[int, str]]) -> None:
        self.path, self.problems = str(path), tuple(problems)
        lines = "".join(f"\n  line {number}: {cause}" for number, cause in self.problems)
        words = "samples cannot be trained on (broken='leave-out' trains without them)"
        super().__init__(f"{self.path}: {len(self.problems)} {words}{lines}")


class TokenFileError(OneVisionError):
    """A token file is not one of ours, is of an unknown schema version, or contradicts itself."""


class EmbeddingFileError(OneVisionError):
    """An embedding file is not one of ours, is of an unknown schema version, or contradicts itself."""


class WriteError(OneVisionError):
    """A file cannot be written.

    Args:
        path: the file that was to be written.
        cause: what is in the way, in words.
    """

    def __init__(self, path: object, cause: str) -> None:
        self.path, self.cause = str(path), cause
        super().__init__(f"{self.path}: cannot be written: {cause}")


class CorpusError(OneVisionError):
    """A corpus, one of its shards or one of its samples cannot be used.

    Args:
        path: the file, with the sample where it is one.
        cause: what is wrong and what to do about it, in words.
    """

    def __init__(self, path: object, cause: str) -> None:
        self.path, self.cause = str(path), cause
        super().__init__(f"{self.path}: {cause}")


class ShardError(CorpusError):
    """A shard is missing, cut short, altered, or not what its index says."""


class CheckpointError(OneVisionError):
    """Weights cannot be loaded.

    Args:
        source: folder, hub id or whatever the caller named.
        cause: what is wrong and what would be accepted, in words.
    """

    def __init__(self, source: object, cause: str) -> None:
        self.source, self.cause = str(source), cause
        super().__init__(f"{self.source}: {cause}")


class RandomWeightsWarning(UserWarning):
    """An encoder was made with random weights: its embeddings mean nothing."""


class MissingExtraError(OneVisionError, ImportError):
    """Something needs packages that come with an extra of this one.

    Args:
        extra: its name in ``pip install "onevision-encoder[extra]"``.
        packages: those that are not installed.
        purpose: what they are for, in words.
    """

    def __init__(self, extra: str, packages: Iterable[str], purpose: str) -> None:
        self.extra, self.packages = extra, tuple(packages)
        names = " and ".join(self.packages)
        super().__init__(f'{purpose} needs {names}: pip install "onevision-encoder[{extra}]"')
