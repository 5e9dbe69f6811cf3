#!/usr/bin/env bash
# The programs of others that the interop tests speak with: official gRPC peers, Connect's conformance runner, and the
# command-line clients of gRPC and of NATS, as ordinary Go modules of fixed versions. They go to .tools/bin, and are
# made once per version.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# name, package, version
tools='
grpc-interop-client  google.golang.org/grpc/interop/client                   v1.85.0
grpc-interop-server  google.golang.org/grpc/interop/server                   v1.85.0
connectconformance   connectrpc.com/conformance/cmd/connectconformance       v1.0.7
grpcurl              github.com/fullstorydev/grpcurl/cmd/grpcurl             v1.9.4
grpc-health-probe    github.com/grpc-ecosystem/grpc-health-probe             v0.4.61
nats                 github.com/nats-io/natscli/nats                         v0.5.1
'

bin=$PWD/.tools/bin
mkdir -p "$bin"
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

while read -r name package version; do
  [ -n "$name" ] || continue
  if [ -x "$bin/$name" ] && [ "$(cat "$bin/$name.version" 2>/dev/null)" = "$version" ]; then continue; fi
  echo "$name $version"
  GOBIN=$made GOFLAGS=-mod=mod go install -trimpath "$package@$version"
  mv "$made/$(basename "$package")" "$bin/$name"
  echo "$version" >"$bin/$name.version"
done <<<"$tools"

# Go Micro's programs are ours, on its real modules.
for module in test/interop/go-micro-*/; do
  [ -f "$module/go.mod" ] || continue
  name=$(basename "$module")
  echo "$name"
  (cd "$module" && go build -trimpath -o "$bin/$name" .)
done
