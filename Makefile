# Aliases only: every recipe is a command that can be typed by hand.
PYTHON ?= python3
CXX ?= c++
SAN = build/sanitize

.PHONY: build test test-isa sanitize lint
build:
	cmake -S . -B build/dev -G Ninja -DPython_EXECUTABLE=$$(command -v $(PYTHON))
	ninja -C build/dev

test:
	pytest

test-isa:
	for isa in $$($(PYTHON) -c 'import cnnkern._core as c; print(*c.available_isas())'); do \
	  echo "== $$isa" && CNNKERN_ISA=$$isa pytest -q tests/ops tests/graph || exit 1; done

# The package from this checkout around a module built with AddressSanitizer and UBSan, which Python itself is not.
sanitize:
	mkdir -p $(SAN)/site/cnnkern
	find $(CURDIR)/cnnkern -mindepth 1 -maxdepth 1 ! -name '_core*' -exec ln -sfn -t $(SAN)/site/cnnkern {} +
	CXX=$(CXX) cmake -S . -B $(SAN) -G Ninja -DPython_EXECUTABLE=$$(command -v $(PYTHON)) \
	  -DCNNKERN_SANITIZE=address,undefined -DCNNKERN_OUTPUT_DIR=$(CURDIR)/$(SAN)/site/cnnkern
	ninja -C $(SAN)
	LD_PRELOAD=$$($(CXX) -print-file-name=libasan.so):$$($(CXX) -print-file-name=libstdc++.so) ASAN_OPTIONS=detect_leaks=0 \
	  PYTHONPATH=$(CURDIR)/$(SAN)/site pytest -q tests/ops tests/graph

lint:
	ruff check .
	ruff format --check .
	git ls-files 'csrc/*.cpp' 'csrc/*.h' 'csrc/*.inl' 'tests/*.cpp' | xargs clang-format --dry-run -Werror
