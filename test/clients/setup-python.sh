#!/bin/sh
# Puts the Python clients that test/clients/python.test.ts uses into a virtual environment: .cache/python of this project,
# or the given folder. Without them those tests are skipped.
#
#   setup-python.sh [DIR]     prints DIR/bin/python as its last line
set -eu
dir=${1:-$(dirname "$0")/../../.cache/python}
python3 -m venv "$dir"
"$dir/bin/pip" install --quiet --disable-pip-version-check ollama==0.6.3 litellm==1.110.2 >&2
printf '%s\n' "$dir/bin/python"
