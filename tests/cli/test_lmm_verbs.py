"""`ove lmm` as a person would call it, with a tiny model of random weights."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import pytest
from calling import call
from safetensors.torch import load_file, save_file

sys.path.append(str(Path(__file__).resolve().parents[1] / "lmm"))
from speaking_parts import ROWS, media_folder, speaking_model, write_lines

from onevision_encoder.video.damage import damage_words


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = media_folder(tmp_path_factory.mktemp("verbs"))
    model, processor = speaking_model()
    model.save_pretrained(folder / "vlm")
    processor.save_pretrained(folder / "vlm")
    write_lines(folder / "questions.jsonl", ROWS)
    return folder


def test_chat_once_and_in_turns(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = ("lmm", "chat", "--model", place / "vlm", "--video", place / "clip.mp4", "--budget", 20)
    base = (*base, "--max-new-tokens", 4)
    code, out, err = call(capsys, *base, "--question", "which way", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["visual_tokens"], found["media"][0]["path"]) == (20, "codec")
    assert found["seconds_to_first"] > 0
    code, out, err = call(capsys, *base, "--question", "which way", "--video-backend", "frames")
    assert code == 0
    assert out.strip()
    assert "(frames)" in err
    monkeypatch.setattr(sys, "stdin", io.StringIO("which way\nand is this red\n\nnever asked\n"))
    code, out, _ = call(capsys, *base, "--json")
    first, second = map(json.loads, out.splitlines())
    assert first["text"] == found["text"]
    assert second["prompt_tokens"] > first["prompt_tokens"] + first["answer_tokens"]
    code, _, err = call(capsys, *base[:4], "--video", place / "broken.mp4", "--question", "which way")
    assert code == 2
    assert "broken.mp4" in err


def test_eval_reports_and_goes_on(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ("lmm", "eval", "--model", place / "vlm", "--benchmark", "jsonl", "--data", place, "--out", tmp_path / "out")
    base = (*base, "--how", "likelihood", "--budget", 20, "--max-new-tokens", 4)
    code, out, err = call(capsys, *base, "--limit", 2, "--json")
    assert (code, json.loads(out)["asked"]) == (0, 2), err
    code, out, err = call(capsys, *base, "--json")
    report = json.loads(out)
    assert (code, report["questions"], report["asked"]) == (1, 5, 4)
    assert [one["id"] for one in report["broken"]] == ["q3"]
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report
    assert len((tmp_path / "out" / "predictions.jsonl").read_text().splitlines()) == 5
    assert "Broken: q3" in (tmp_path / "out" / "report.md").read_text()
    code, _, err = call(capsys, *base[:5], "none", *base[6:])
    assert code == 2
    assert "videomme" in err
    other = shutil.copytree(place / "vlm", tmp_path / "vlm")
    again = [other if word == place / "vlm" else word for word in base]
    again[again.index("--out") + 1] = tmp_path / "other"
    code, _, err = call(capsys, *again, "--limit", 1, "--json")
    assert code == 0, err
    weights = load_file(other / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in weights.items()}, other / "model.safetensors", {"format": "pt"})
    code, _, err = call(capsys, *again, "--limit", 1, "--json")
    assert code == 2, "trained on under the same name: other answers"
    assert "other weights" in err


def test_benchmarks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "lmm", "benchmarks", "--json")
    assert code == 0
    assert len(json.loads(out)) == 17
    assert "OCRBench.json" in call(capsys, "lmm", "benchmarks")[1]


@pytest.mark.parametrize(
    ("flags", "words"), [(("--port", 65536), "0 to 65535"), (("--num-frames", 600), "at most max_frames, 512")]
)
def test_serve_refuses_what_no_request_could_use(
    place: Path, capsys: pytest.CaptureFixture[str], flags: tuple[object, ...], words: str
) -> None:
    code, _, err = call(capsys, "lmm", "serve", "--model", place / "vlm", *flags)
    assert code == 2
    assert words in err


def test_an_option_that_stands_twice_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = ("--video", place / "clip.mp4", "--video", place / "other.mp4")
    code, _, err = call(capsys, "lmm", "chat", "--model", place / "vlm", *two, "--question", "which way")
    assert code == 2
    assert "--video" in err
    assert "once" in err


def test_what_is_lost_of_a_video_is_said(
    media: Path, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = media / "bad" / "decord_corrupted.mp4"
    base = ("--model", place / "vlm", "--budget", 20, "--max-new-tokens", 2)
    code, out, err = call(capsys, "lmm", "chat", *base, "--video", damaged, "--question", "which way", "--json")
    assert code == 0, err
    (found,) = json.loads(out)["media"]
    assert found["frames_lost"] + found["frames_corrupt"] > 0
    _, _, err = call(capsys, "lmm", "chat", *base, "--video", damaged, "--question", "which way")
    words = ", ".join(damage_words(found["frames_lost"], found["frames_corrupt"]))
    assert f"decord_corrupted.mp4 (codec, {words})" in err
    row = {"id": "one", "question": "which way", "video": str(damaged), "options": ["left", "right"], "answer": "A"}
    write_lines(tmp_path / "questions.jsonl", [row])
    asked = ("--benchmark", "jsonl", "--data", tmp_path, "--out", tmp_path / "out", "--json")
    code, out, err = call(capsys, "lmm", "eval", *base, *asked)
    assert code == 0, err
    assert json.loads(out)["damaged"] == {"one": [f"{damaged}: {words}"]}
    assert f"Damaged: one: {damaged}: {words}" in (tmp_path / "out" / "report.md").read_text()


def test_what_cannot_be_put_together_is_said(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ("lmm", "make", "--encoder", "tiny", "--out", tmp_path / "made", "--language-model")
    code, _, err = call(capsys, *base, place / "vlm")
    assert code == 2
    assert "a causal language model is wanted" in err
    assert len(err) < 600
    (tmp_path / "bare").mkdir()
    code, _, err = call(capsys, *base, tmp_path / "bare")
    assert code == 2
    assert "a tokenizer is wanted" in err
    settings = {"model_type": "elsewhere", "auto_map": {"AutoConfig": "poison.C", "AutoModelForCausalLM": "poison.M"}}
    (tmp_path / "bare" / "config.json").write_text(json.dumps(settings))
    (tmp_path / "bare" / "poison.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    code, _, err = call(capsys, *base, tmp_path / "bare")
    assert (code, (tmp_path / "ran").exists()) == (2, False), err
    code, _, err = call(capsys, *base, "tiny", "--chat-template", tmp_path / "none.jinja")
    assert code == 2
    assert "none.jinja" in err


def test_a_language_model_without_chat_template_is_given_one(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, processor = speaking_model()
    template, processor.tokenizer.chat_template = processor.tokenizer.chat_template, None
    model.language_model.save_pretrained(tmp_path / "base")
    processor.tokenizer.save_pretrained(tmp_path / "base")
    (tmp_path / "chat.jinja").write_text(template)
    base = ("lmm", "make", "--encoder", "tiny", "--language-model", tmp_path / "base", "--out")
    code, _, err = call(capsys, *base, tmp_path / "mute")
    assert code == 0, err
    assert "has no chat template" in err
    asked = ("--video", place / "clip.mp4", "--question", "which way", "--budget", 20, "--max-new-tokens", 2)
    code, _, err = call(capsys, "lmm", "chat", "--model", tmp_path / "mute", *asked)
    assert code == 2
    assert "--chat-template" in err
    code, _, err = call(capsys, *base, tmp_path / "made", "--chat-template", tmp_path / "chat.jinja")
    assert code == 0, err
    assert "has no chat template" not in err
    code, _, err = call(capsys, "lmm", "chat", "--model", tmp_path / "made", *asked)
    assert code == 0, err
