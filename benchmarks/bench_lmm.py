"""A tiny language model that learns to answer questions about motion, and what its tokens cost.

    python benchmarks/bench_lmm.py --work FOLDER [--parts accuracy speed] [--out benchmarks/results]

Accuracy: a Qwen3 of two layers and an encoder of three, both from scratch, are trained (``fine_tune``, all weights) on
questions about the training clips of the motion suite, and asked about test clips. Every arm has the same steps, clips
and seeds; an answer counts if its first word is the most likely of all words.
arm: how patches are chosen, and the merger. codec: from 64 frames. frames: whole ones of 8 x 8 patches. small frames:
of 4 x 4 patches, four times as many. tokens: of the language model for a video. patches: that the encoder reads, of so
many frames. accuracy: mean over the kinds of questions; +-: standard deviation over seeds. chance: of the same.

Speed: one video, random weights, one run. ttft: from patches to the first new token (encoder, merger, prefill).
tokens/s: of the 32 tokens after it, in the same call. prefill CPU s: of all threads, to the first token.

The suite, the tokens, checkpoints and finished arms lie in the work folder, by a digest of all that decides them: the
same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import report
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config

from onevision_encoder import OneVisionEncoderConfig, OneVisionForConditionalGeneration
from onevision_encoder.evaluate import MotionSuite, make_suite
from onevision_encoder.evaluate.sweep_ledger import digest_of
from onevision_encoder.lmm import TokenCache, TrainingConfig, fine_tune, load_trained, read_samples
from onevision_encoder.lmm.motion_questions import motion_questions, write_questions
from onevision_encoder.lmm.training_data import Collator, SampleEncoder

WRITTEN = 32
"""Tokens whose rate is measured."""
CHAT = (
    "{% for m in messages %}{{ '<|im_start|> ' + m['role'] + ' ' + m['content'] + ' <|im_end|> ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|> assistant ' }}{% endif %}"
)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """``side``: patches along a frame."""

    name: str
    backend: str
    merger: str
    tokens: int
    side: int = 8

    @property
    def key(self) -> str:
        return f"{self.name.replace(' ', '-')}-{self.merger}-{self.tokens}"

    @property
    def ratio(self) -> int:
        return 4 if self.merger == "2x2" else 1


def _arms(merger: str, tokens: int) -> list[Arm]:
    frames = {"backend": "frames", "merger": merger, "tokens": tokens}
    return [
        Arm(name="codec", backend="codec", merger=merger, tokens=tokens),
        Arm(name="frames", **frames),  # type: ignore[arg-type]
        Arm(name="small frames", side=4, **frames),  # type: ignore[arg-type]
    ]


ARMS = [*_arms("none", 64), *_arms("2x2", 64), Arm(name="codec", backend="codec", merger="2x2", tokens=16)]
"""Merged and not at as many tokens of the language model; and, by the last, at as many patches of the encoder."""


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a word of the questions and answers."""
    asked = [q for label in MotionSuite().labels for q in motion_questions(label)]
    words = sorted({word for q in asked for word in (*q.text.split(), *q.choices)})
    pieces = ["<unk>", "<pad>", "<|im_start|>", "<|im_end|>", "user", "assistant", *words]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(pieces)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="<unk>",
        pad_token="<pad>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
    )
    fast.chat_template = CHAT
    return fast


EYES = OneVisionEncoderConfig(
    hidden_size=64,
    intermediate_size=256,
    num_hidden_layers=3,
    num_attention_heads=2,
    initializer_range=0.08,
    place_waves=8,
    place_size=(64, 8, 8),
    place_std=1.5,
)
MOUTH = Qwen3Config(
    vocab_size=64,
    hidden_size=64,
    intermediate_size=192,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    max_position_embeddings=1024,
    initializer_range=0.08,
)


def make_model(folder: Path, arm: Arm, seed: int) -> Path:
    if not (folder / "processor_config.json").is_file():
        model, processor = OneVisionForConditionalGeneration.from_parts(
            EYES, MOUTH, tokenizer=tokenizer(), merger=arm.merger, seed=seed, num_frames=64, max_patches=arm.side**2
        )
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
    return folder


def prepare(work: Path, clips: tuple[int, int], seed: int) -> tuple[Path, dict[str, Path]]:
    """The suite and its questions, made once."""
    suite = work / f"suite-{clips[0]}-{clips[1]}-{seed}"
    if not (suite / "suite.json").is_file():
        shutil.rmtree(suite, ignore_errors=True)  # half of it
        make_suite(suite, MotionSuite(clips_per_class=(clips[0], 0, clips[1]), seed=seed), quiet=False)
    return suite, {split: write_questions(suite, split, suite / f"{split}.jsonl") for split in ("train", "test")}


def run_arm(
    arm: Arm, seed: int, work: Path, suite: Path, files: dict[str, Path], config: dict[str, Any]
) -> dict[str, Any]:
    """Train and ask; what is finished is read back."""
    source = report.git("rev-parse", "HEAD:src", check=True)  # of the package, as it was committed
    decides = {"arm": asdict(arm), "seed": seed, "suite": suite.name, "config": config, "source": source}
    decides |= {"eyes": EYES.to_dict(), "mouth": MOUTH.to_dict()}
    mark = digest_of(json.loads(json.dumps(decides, default=str)))[:12]
    place = work / f"{arm.key}-seed{seed}-{mark}"
    done = place / "accuracy.json"
    if done.is_file():
        found: dict[str, Any] = json.loads(done.read_text())
        return found
    start = make_model(work / f"model-{arm.key}-seed{seed}-{mark}", arm, seed)
    facts = fine_tune(
        start,
        files["train"],
        place,
        TrainingConfig(stage="full", seed=seed, schedule="cosine", keep=1, save_every=250, log_every=25, **config),
        media_root=suite,
        cache=work / "tokens",
        device="cpu",
        resume=(place / "training.json").is_file(),
        tick=lambda what, i, n: print(f"  {arm.key} {what} {i} of {n}", flush=True) if i % 250 == 0 else None,
        video_backend=arm.backend,
        budget=arm.tokens,
    ).facts
    right = ask(place, files["test"], suite, work / "tokens")
    data = facts["data"]["train"]
    result = {
        "arm": arm.key,
        "seed": seed,
        "right": right,
        "last_loss": facts["last_loss"],
        "visual_tokens": data["visual_tokens"] / data["samples"],
        "frames": frames_read(place, files["test"], suite, work / "tokens"),
        "parameters": facts["trained_parameters"],
    }
    done.write_text(json.dumps(result, indent=2) + "\n")
    return result


def frames_read(folder: Path, file: Path, root: Path, cache: Path) -> float:
    """Frames of which the encoder reads patches, mean over some test clips."""
    _, processor = load_trained(folder)
    encode = SampleEncoder(processor, TokenCache(cache))
    found = [encode(sample).vision["patch_positions"] for sample in read_samples(file, root)[::100]]
    return statistics.fmean(len(torch.unique(positions_N3[:, 0])) for positions_N3 in found)


@torch.inference_mode()
def ask(folder: Path, file: Path, root: Path, cache: Path) -> dict[str, dict[str, float]]:
    """For each kind of question: how many were asked, the share answered right, and chance."""
    model, processor = load_trained(folder)
    encode, collate = SampleEncoder(processor, TokenCache(cache)), Collator(pad=1, packed=False)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    samples = read_samples(file, root)
    tally: dict[str, list[bool]] = {}
    for first in range(0, len(samples), 32):
        batch = collate([[encode(sample)] for sample in samples[first : first + 32]])
        labels = batch.pop("labels")
        logits = model(**batch).logits
        place = (labels != -100).int().argmax(1)  # the first word of the answer
        item = torch.arange(len(labels))
        hit = logits[item, place - 1].argmax(-1) == labels[item, place]
        for row, right in zip(rows[first:], hit.tolist(), strict=False):
            tally.setdefault(row["question"], []).append(right)
    chance = {row["question"]: 1 / len(row["choices"]) for row in rows}
    return {k: {"asked": len(v), "accuracy": sum(v) / len(v), "chance": chance[k]} for k, v in sorted(tally.items())}


def accuracy_tables(args: argparse.Namespace) -> dict[str, list[report.Row]]:
    args.work.mkdir(parents=True, exist_ok=True)
    suite, files = prepare(args.work, (args.train_clips, args.test_clips), args.suite_seed)
    config = {"steps": args.steps, "batch": args.batch, "learning_rate": args.rate, "warmup": args.steps // 20}
    overall, by_kind = [], []
    for arm in (arm for arm in ARMS if not args.arms or arm.key in args.arms):
        runs = [run_arm(arm, seed, args.work, suite, files, config) for seed in range(args.seeds)]
        kinds = list(runs[0]["right"])
        mean = {kind: [run["right"][kind]["accuracy"] for run in runs] for kind in kinds}
        whole = [statistics.fmean(run["right"][kind]["accuracy"] for kind in kinds) for run in runs]
        chance = {kind: runs[0]["right"][kind]["chance"] for kind in kinds}
        overall.append(
            {
                "arm": f"{arm.name}, merger {arm.merger}",
                "tokens": runs[0]["visual_tokens"],
                "patches": runs[0]["visual_tokens"] * arm.ratio,
                "frames": runs[0]["frames"],
                "accuracy": statistics.fmean(whole),
                "+-": statistics.stdev(whole) if len(whole) > 1 else "-",
                "chance": statistics.fmean(chance.values()),
                "training loss": statistics.fmean(run["last_loss"] for run in runs),
            }
        )
        by_kind.append({"arm": arm.key, **{k: statistics.fmean(mean[k]) for k in kinds}})
    by_kind.append({"arm": "chance", **chance})
    return {"Held-out accuracy": overall, "By question": by_kind}


class Clock:
    """A streamer that notes when the prompt and each token came."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def put(self, _: Any) -> None:
        self.at.append(time.perf_counter())

    def end(self) -> None:
        return


def speed_table(args: argparse.Namespace) -> list[report.Row]:
    """The same 64 frames of 504 x 504 pixels, as each arm reads them."""
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 256, (63, 95, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    frames = np.stack([wide[:504, 4 * t : 4 * t + 504] for t in range(64)])
    eyes = OneVisionEncoderConfig(hidden_size=384, intermediate_size=1536, num_hidden_layers=6, num_attention_heads=6)
    mouth = Qwen3Config(
        vocab_size=1024, hidden_size=512, intermediate_size=1536, num_hidden_layers=8, num_attention_heads=8,
        num_key_value_heads=4, head_dim=64, max_position_embeddings=32768,
    )  # fmt: skip
    arms: list[tuple[str, str, dict[str, Any]]] = [
        ("8 frames whole, unmerged", "none", {"video_backend": "frames", "num_frames": 8, "budget": 10368}),
        ("8 frames whole, merged", "2x2", {"video_backend": "frames", "num_frames": 8, "budget": 2592}),
        ("codec, 10,368 patches, merged", "2x2", {"video_backend": "codec", "num_frames": 64, "budget": 2592}),
        ("codec, 2,592 patches, merged", "2x2", {"video_backend": "codec", "num_frames": 64, "budget": 648}),
        ("2 frames whole, merged", "2x2", {"video_backend": "frames", "num_frames": 2, "budget": 648}),
    ]
    rows: list[report.Row] = []
    for name, merger, options in arms:
        model, processor = OneVisionForConditionalGeneration.from_parts(
            eyes, mouth, tokenizer=tokenizer(), merger=merger, max_patches=1296
        )
        talk = [{"role": "user", "content": [{"type": "video", "video": frames, **options}, "how many jumps"]}]
        inputs = processor.apply_chat_template(talk, tokenize=True, add_generation_prompt=True)
        model.generation_config.eos_token_id = None  # random weights may say anything
        first, rate, prefill = [], [], []
        for _ in range(args.repeats):
            began = time.process_time()
            model.generate(**inputs, max_new_tokens=1, do_sample=False)
            prefill.append(time.process_time() - began)
            clock, began = Clock(), time.perf_counter()
            model.generate(**inputs, max_new_tokens=1 + WRITTEN, do_sample=False, streamer=clock)
            first.append(clock.at[1] - began)
            rate.append(WRITTEN / (clock.at[-1] - clock.at[1]))
        medium = inputs.media[0]
        rows.append(
            {
                "arm": name,
                "patches": medium.patches,
                "tokens": medium.tokens,
                "ttft s": min(first),
                "prefill CPU s": min(prefill),
                "tokens/s": max(rate),
            }
        )
    slowest = rows[0]["ttft s"]
    return [{**row, "ttft, first arm / this": slowest / row["ttft s"]} for row in rows]  # type: ignore[operator]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps everything between calls")
    parser.add_argument("--parts", nargs="*", default=["accuracy", "speed"], choices=["accuracy", "speed"])
    parser.add_argument("--arms", nargs="*", default=[], choices=[arm.key for arm in ARMS])
    parser.add_argument("--train-clips", type=int, default=120, help="of each class")
    parser.add_argument("--test-clips", type=int, default=25, help="of each class")
    parser.add_argument("--suite-seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="of the speed part; the best counts")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    parts: dict[str, list[report.Row]] = {}
    if "accuracy" in args.parts:
        parts |= accuracy_tables(args)
    if "speed" in args.parts:
        parts["Time to the first token"] = speed_table(args)
    notes = [
        f"{args.train_clips} training clips and {args.test_clips} test clips; {args.steps} steps x {args.batch}",
        f"seeds {args.seeds}, learning rate {args.rate:g}; the suite's development family, seed {args.suite_seed}",
    ]
    report.write(args.out, "lmm", "Questions about motion, asked of a language model", parts, notes)


if __name__ == "__main__":
    main()
