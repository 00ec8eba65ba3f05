#!/bin/sh
# Runs a program that another action linked.
set -eu
"$1" crane | cmp - checks/expected.txt
