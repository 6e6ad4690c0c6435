# Aliases only; python3 go.py needs no make.
.PHONY: demo test docs
demo test docs:
	python3 go.py $@
