#!/bin/sh
# What was split and joined again is what it was, and the folder kept its shape.
set -eu
cmp words/merged.txt checks/rejoined.txt
cmp words/merged.txt checks/by_word/deep/er/all.txt
test "$(wc -l < checks/by_word/ferry.txt)" -eq 5
