#!/usr/bin/env bash
# Builds the documentation site into site/. A dead link, a page in no menu or a name of the API
# without a docstring fails it. Arguments go to mkdocs: bash scripts/docs.sh --site-dir /tmp/site
source "$(dirname "$0")/setup.sh"

export NO_MKDOCS_2_WARNING=1 PYTHONPATH=$PWD
python scripts/write_reference.py
exec mkdocs build --strict "$@"
