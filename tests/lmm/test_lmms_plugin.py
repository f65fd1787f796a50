"""lmms-eval itself, with a toy task, in the environment of `make test-lmms-eval`."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from speaking_parts import media_folder, speaking_model

from onevision_encoder.lmm.answering import Writing, answer

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("lmms_eval") is None, reason="needs lmms-eval: make test-lmms-eval"
)

TASK = """
task: ove_toy
dataset_path: json
dataset_kwargs:
  data_files:
    test: {rows}
test_split: test
output_type: generate_until
doc_to_visual: !function toy.visual
doc_to_text: question
doc_to_target: answer
generation_kwargs:
  max_new_tokens: 6
process_results: !function toy.results
metric_list:
  - metric: toy_score
    aggregation: mean
    higher_is_better: true
"""
FUNCTIONS = """
from PIL import Image

def visual(doc):
    path = doc["medium"]
    return [Image.open(path).convert("RGB") if path.endswith(".png") else path]

def results(doc, results):
    return {"toy_score": float(results[0].strip() == doc["answer"])}
"""


def test_a_toy_task(tmp_path: Path) -> None:
    model, processor = speaking_model()
    model.save_pretrained(tmp_path / "vlm")
    processor.save_pretrained(tmp_path / "vlm")
    media = media_folder(tmp_path)
    rows = []
    for kind, name in (("video", "clip.mp4"), ("image", "still.png")):
        content = [{"type": kind, "path": str(media / name)}, {"type": "text", "text": "which way"}]
        said = answer(
            model, processor, [{"role": "user", "content": content}], writing=Writing(max_new_tokens=6), budget=20
        )
        assert said.text.strip()
        rows.append({"medium": str(media / name), "question": "which way", "answer": said.text.strip()})
    rows.append({**rows[0], "answer": "never said"})
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = tmp_path / "task"
    task.mkdir()
    (task / "ove_toy.yaml").write_text(TASK.format(rows=tmp_path / "rows.jsonl"))
    (task / "toy.py").write_text(FUNCTIONS)
    arguments = [
        *("--model", "onevision_encoder", "--tasks", "ove_toy", "--include_path", str(task), "--batch_size", "1"),
        *("--model_args", f"pretrained={tmp_path / 'vlm'},budget=20,device=cpu,log={tmp_path / 'log.jsonl'}"),
        *("--output_path", str(tmp_path / "out"), "--log_samples"),
    ]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(tmp_path / "cache"), "WANDB_MODE": "disabled"}
    done = subprocess.run(
        [sys.executable, "-m", "lmms_eval", *arguments],
        env={**os.environ, **offline},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = [json.loads(path.read_text()) for path in (tmp_path / "out").rglob("*results.json")]
    assert len(found) == 1, done.stderr[-3000:]
    assert found[0]["results"]["ove_toy"]["toy_score,none"] == pytest.approx(2 / 3)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert sorted(line["media"][0]["path"] for line in log) == ["codec", "codec", "image"]
    assert {line["visual_tokens"] for line in log if line["media"][0]["path"] == "codec"} == {20}
