#!/usr/bin/env bash
# Builds the documentation site into site/. A dead link or a page in no menu fails it. Pages open
# from the folder; their search needs a server, such as python -m http.server.
# Arguments go to mkdocs: bash scripts/docs.sh --site-dir DIR
source "$(dirname "$0")/setup.sh"

export NO_MKDOCS_2_WARNING=1 PYTHONPATH=$PWD
python scripts/write_reference.py
exec mkdocs build --strict "$@"
