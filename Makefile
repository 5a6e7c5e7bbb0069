# What a user types. Every target sets up what it needs first (quick when nothing has changed).
#
# Exit codes: the recipe ends with edgebed's own code, and make prints it ("Error 6"), but GNU make itself always
# leaves with 2 when a recipe fails, and 130 when interrupted; no Makefile can change that. Where the code itself is
# needed (scripts, CI), call the same thing without make: scripts/edgebed run dropout30

NAME ?= dropout30
RUN ?=
JOBS ?= 2
OPTIONS = $(if $(SEED),--seed $(SEED)) $(if $(SUBSTRATE),--substrate $(SUBSTRATE)) $(if $(SHAPER),--shaper $(SHAPER)) $(ARGS)
SLOWED = $(if $(SLOW_DOWN),--slow-down $(SLOW_DOWN))
EDGEBED = .venv/bin/edgebed
PYTHON_BIN = .venv/bin

.DEFAULT_GOAL = help
.PHONY: help setup doctor scenario plan simulate smoke image test soak check format docs papers bench vm fidelity flower fresh vagrant-up calibrate report observe grafana-check clean

help:
	@echo 'make TARGET [NAME=dropout30] [SEED=1] [SUBSTRATE=auto] [SHAPER=auto] [SLOW_DOWN=1] [ARGS="--set a.b=c"]'
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1\t\2/p' Makefile | expand -t 17
	@echo 'scenarios: $(basename $(notdir $(wildcard scenarios/*.yaml)))'

setup: ## install what Edgebed needs: Debian packages (as root), .venv, pinned versions
	@scripts/setup.sh

doctor: setup ## say what works on this machine and how to get the rest
	@$(EDGEBED) doctor

scenario: setup ## run scenario NAME and report what it cost
	@$(EDGEBED) run $(NAME) $(SLOWED) $(OPTIONS)

plan: setup ## show what a run of NAME would do: nodes, links, faults
	@$(EDGEBED) plan $(NAME) $(OPTIONS)

simulate: setup ## run NAME in virtual time: no root, no network, seconds
	@$(EDGEBED) run $(NAME) --substrate simulation $(if $(SEED),--seed $(SEED)) $(ARGS)

smoke: setup ## run the smallest scenario: does it all hang together?
	@$(EDGEBED) run smoke $(SLOWED) $(OPTIONS)

image: setup ## make the image that containers start from; BASE=debootstrap where no registry is reached
	@$(EDGEBED) image $(if $(BASE),--base $(BASE)) $(ARGS)

test: setup ## all tests; those that need root are skipped without it, and say so
	@scripts/test.sh $(ARGS)

soak: SEEDS = 5000
soak: setup ## hours of fault fuzzing: SEEDS schedules in virtual time, five on emulated links; 700 runs killed with -9
	@EDGEBED_SOAK=$(SEEDS) scripts/test.sh tests/soak -m 'not root' -n $(JOBS) $(ARGS)
	@EDGEBED_SOAK=$(SEEDS) scripts/test.sh tests/soak $(wildcard tests/root/test_killed_*.py) -m root $(ARGS)

check: setup ## lint, format, types, scenarios, spelling
	@$(PYTHON_BIN)/ruff check --quiet .
	@$(PYTHON_BIN)/ruff format --check --quiet .
	@$(PYTHON_BIN)/mypy
	@$(PYTHON_BIN)/yamllint --strict scenarios .yamllint
	@$(PYTHON_BIN)/codespell

format: setup ## put the source into the one format
	@$(PYTHON_BIN)/ruff check --quiet --fix .
	@$(PYTHON_BIN)/ruff format .

# Those whose data are missing are left out, and say so. A claim that does not hold is a result and stops nothing.
papers: setup ## run the comparisons of docs/papers.md in simulation, two at a time, and fill in its tables; goes on where it was
	@for scenario in $(sort $(wildcard scenarios/papers/*.yaml)); do \
	  name=$$(basename $$scenario .yaml); \
	  $(EDGEBED) sweep $$scenario --substrate simulation --out runs/papers/$$name --jobs $(JOBS) --resume $(ARGS); \
	  code=$$?; if [ $$code -ge 3 ]; then exit $$code; fi; \
	done
	@$(PYTHON_BIN)/python -m analysis.papers runs/papers docs/papers.md

bench: setup ## measure speed and memory of Edgebed itself
	@$(PYTHON_BIN)/python -m bench $(ARGS)

vm: setup ## run TARGET in a Linux that has netem: make vm TARGET='scenario NAME=smoke SHAPER=netem'
	@scripts/vm.sh $(TARGET)

# delay_line is measured here, and both in the VM, whose every system call is slow: the page says which is which.
fidelity: setup ## measure links against the closed form, a quarter of an hour, and write docs/fidelity.md
	@$(PYTHON_BIN)/python -m bench.fidelity runs/fidelity delay_line
	@scripts/vm.sh -- $(PYTHON_BIN)/python -m bench.fidelity runs/fidelity netem delay_line
	@$(PYTHON_BIN)/python -m analysis.fidelity runs/fidelity docs

# Flower's own environment, never a dependency of Edgebed: scenarios/flower.yaml finds it in .flower.
flower: setup ## install Flower beside Edgebed, for `edgebed run flower --trust` (scikit-learn too; 360 MB, a minute)
	@test -x .flower/bin/flwr || { $(PYTHON_BIN)/uv venv --quiet --python $(PYTHON_BIN)/python .flower && \
	  $(PYTHON_BIN)/uv pip install --quiet --python .flower/bin/python flwr==1.41.0 scikit-learn; }

fresh: ## try scripts/provision.sh on a fresh Debian, made by mmdebstrap and gone afterwards; as root, some minutes
	@scripts/fresh.sh

vagrant-up: ## do a whole `vagrant up` without a box and without hardware virtualisation; as root, half an hour
	@scripts/vagrant_up.sh

calibrate: NAME = parity_digits
calibrate: setup ## run NAME in simulation and in emulation; print both and the gap
	@$(EDGEBED) calibrate $(NAME) $(if $(SEED),--seed $(SEED)) $(ARGS)

docs: setup ## build the documentation as a site in build/site; open build/site/index.html
	@NO_MKDOCS_2_WARNING=1 $(PYTHON_BIN)/python -m mkdocs build --strict

report: setup ## write the report of RUN (the newest run if not given) as one HTML file
	@$(EDGEBED) report $(RUN) $(ARGS)

observe: setup ## start a Prometheus (and Grafana, where Docker has it) that finds every run by itself, until Ctrl-C
	@$(EDGEBED) observe $(ARGS)

grafana-check: setup ## try on the Grafana at URL= all that Edgebed needs of one; its token is in TOKEN_FILE=
	@$(EDGEBED) grafana check --url '$(URL)' --token-file '$(TOKEN_FILE)' $(ARGS)

clean: ## remove what crashed runs left behind, and caches; runs/ and .venv stay
	@if [ -x $(PYTHON_BIN)/edgebed ]; then $(EDGEBED) clean; fi
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
