"""A process of a run that `kill` begins: python -m gradlogp.bench.scale FOLDER RANK STEP DELAY."""

from gradlogp.bench.scale.kill import main

if __name__ == "__main__":
    main()
