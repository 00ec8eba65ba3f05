#!/bin/sh
# Builds the S3 servers that tests run, into node_modules/.cache/s3. Needs Go and its module proxy. Run from anywhere.
#   scripts/install-s3-servers.sh              MinIO
#   scripts/install-s3-servers.sh versitygw    the lighter second one as well
set -eu
cd "$(dirname "$0")/.."

GOBIN=$PWD/node_modules/.cache/s3
export GOBIN
mkdir -p "$GOBIN"

# A version that is there already is not built again.
install() {
  program=$GOBIN/$1
  if [ -x "$program" ] && go version -m "$program" | grep -q "[[:space:]]$4[[:space:]]$3[[:space:]]"; then
    echo "$1 $3 is installed"
    return
  fi
  go install "$2@$3"
  echo "$1 $3 is installed now"
}

install minio github.com/minio/minio v0.0.0-20260212201848-7aac2a2c5b7c github.com/minio/minio
if [ "${1:-}" = versitygw ]; then
  install versitygw github.com/versity/versitygw/cmd/versitygw v1.8.0 github.com/versity/versitygw
fi
