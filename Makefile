# What a user types. Every target sets up what it needs first (quick when nothing has changed).
#
# Exit codes: the recipe ends with edgebed's own code, and make prints it ("Error 6"), but GNU make itself always
# leaves with 2 when a recipe fails, and 130 when interrupted; no Makefile can change that. Where the code itself is
# needed (scripts, CI), call the same thing without make: scripts/edgebed run dropout30

NAME ?= dropout30
RUN ?=
OPTIONS = $(if $(SEED),--seed $(SEED)) $(if $(SUBSTRATE),--substrate $(SUBSTRATE)) $(if $(SHAPER),--shaper $(SHAPER)) $(ARGS)
EDGEBED = .venv/bin/edgebed
PYTHON_BIN = .venv/bin

.DEFAULT_GOAL = help
.PHONY: help setup doctor scenario plan simulate smoke test check format bench calibrate report clean

help:
	@echo 'make TARGET [NAME=dropout30] [SEED=1] [SUBSTRATE=auto] [SHAPER=auto] [ARGS="--set a.b=c"]'
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  \1\t\2/p' Makefile | expand -t 14
	@echo 'scenarios: $(basename $(notdir $(wildcard scenarios/*.yaml)))'

setup: ## install what Edgebed needs: Debian packages (as root), .venv, pinned versions
	@scripts/setup.sh

doctor: setup ## say what works on this machine and how to get the rest
	@$(EDGEBED) doctor

scenario: setup ## run scenario NAME and report what it cost
	@$(EDGEBED) run $(NAME) $(OPTIONS)

plan: setup ## show what a run of NAME would do: nodes, links, faults
	@$(EDGEBED) plan $(NAME) $(OPTIONS)

simulate: setup ## run NAME in virtual time: no root, no network, seconds
	@$(EDGEBED) run $(NAME) --substrate simulation $(if $(SEED),--seed $(SEED)) $(ARGS)

smoke: setup ## run the smallest scenario: does it all hang together?
	@$(EDGEBED) run smoke $(OPTIONS)

test: setup ## all tests; those that need root are skipped without it, and say so
	@$(PYTHON_BIN)/python -m pytest $(ARGS)

check: setup ## lint, format, types, scenarios, spelling
	@$(PYTHON_BIN)/ruff check --quiet .
	@$(PYTHON_BIN)/ruff format --check --quiet .
	@$(PYTHON_BIN)/mypy
	@$(PYTHON_BIN)/yamllint --strict scenarios .yamllint
	@$(PYTHON_BIN)/codespell

format: setup ## put the source into the one format
	@$(PYTHON_BIN)/ruff check --quiet --fix .
	@$(PYTHON_BIN)/ruff format .

bench: setup ## measure speed and memory of Edgebed itself
	@$(PYTHON_BIN)/python -m bench $(ARGS)

calibrate: NAME = parity_digits
calibrate: setup ## run NAME in simulation and in emulation; print both and the gap
	@$(EDGEBED) calibrate $(NAME) $(if $(SEED),--seed $(SEED)) $(ARGS)

report: setup ## write the report of RUN (the newest run if not given) as one HTML file
	@$(EDGEBED) report $(RUN) $(ARGS)

clean: ## remove what crashed runs left behind, and caches; runs/ and .venv stay
	@if [ -x $(PYTHON_BIN)/edgebed ]; then $(EDGEBED) clean; fi
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
