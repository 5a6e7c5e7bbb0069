#!/usr/bin/env bash
# All tests: those that need root one after another, since they look at the whole machine; before them the others, two
# at a time. With arguments: just what pytest makes of them.
set -euo pipefail
cd "$(dirname "$0")/.."
pytest=(.venv/bin/python -m pytest)
if [ $# -gt 0 ]; then
  exec "${pytest[@]}" "$@"
fi
code=0
"${pytest[@]}" -m 'not root' -n 2 --dist loadgroup || code=$?
"${pytest[@]}" -m root || code=$?
exit "$code"
