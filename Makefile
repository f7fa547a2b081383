# Each target is one call, so that people without make can type it: python scripts/make.py learn
ifeq ($(OS),Windows_NT)
PYTHON ?= python
else
PYTHON ?= python3
endif

TARGETS := learn test course exercises outputs mutants verify home bench gpu-report lock clean help
.PHONY: $(TARGETS)
.DEFAULT_GOAL := help

$(TARGETS):
	@$(PYTHON) scripts/make.py $@
