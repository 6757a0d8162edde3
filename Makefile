# Aliases only: every line is a command that can be typed by hand.
PYTHON ?= python3

.PHONY: build test lint
build:
	cmake -S . -B build/dev -G Ninja -DPython_EXECUTABLE=$$(command -v $(PYTHON))
	ninja -C build/dev
