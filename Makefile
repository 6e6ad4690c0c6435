# Aliases only; python3 go.py needs no make.
.PHONY: demo test
demo test:
	python3 go.py $@
