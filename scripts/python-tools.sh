#!/usr/bin/env bash
# The Python clients of others that the interop tests speak with, of fixed versions, in a virtual environment of their
# own: .tools/python. Its Python is started by .tools/bin/python-with-pika. It is made once per list of packages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

list=test/interop/programs/requirements.txt
folder=$PWD/.tools/python
program=$PWD/.tools/bin/python-with-pika

if cmp -s "$list" "$folder/requirements.txt" && "$program" -c 'import pika' 2>/dev/null; then exit 0; fi

# Debian has it in a package of its own.
if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
  node --input-type=module -e "
    import { installDebian } from './scripts/backends/debian.js';
    await installDebian(['python3-venv']);"
fi
echo "packages of Python: $list"
rm -rf "$folder"
python3 -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --no-input --only-binary :all: --require-hashes -r "$list"
mkdir -p "$(dirname "$program")"
cat >"$program" <<'END'
#!/bin/sh
exec "$(dirname "$0")/../python/bin/python" "$@"
END
chmod +x "$program"
cp "$list" "$folder/requirements.txt"
