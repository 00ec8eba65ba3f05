#!/bin/sh
# Six chapters of five lines; an empty output is there and empty.
set -eu
test "$(cat words/totals.txt)" -eq 30
test -e words/empty.txt
test ! -s words/empty.txt
