#!/bin/sh
# A link and what it points at have the same content, wherever the client keeps its outputs.
set -eu
test "$(cat links/pair.link)" = linked
test "$(cat links/pair.d/to_file)" = inside
