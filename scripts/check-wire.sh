#!/bin/sh
# Compares the schemas under remote-apis/ with the published ones (see scripts/check-wire/main.go).
# Needs Go and its module proxy. Run from anywhere.
set -eu
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

node_modules/.bin/buf build --as-file-descriptor-set --exclude-source-info --output "$work/ours.binpb"
cd scripts/check-wire
go build -o "$work/check-wire" .
"$work/check-wire" "$work/ours.binpb"
