#!/usr/bin/env bash
# What can be known of deploy/ without a container engine and a cluster: that its files are well
# formed by their own schemas. Wants hadolint, kubectl and kubernetes-validate on the PATH, and npm.
set -euo pipefail
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

hadolint deploy/Dockerfile

cp .ci/keda.mjs "$scratch"
npm install --prefix "$scratch" --ignore-scripts --no-audit --no-fund --loglevel=error \
    dclint@3.1.0 @kubernetes-models/keda@2.0.0 yaml@2.9.1 >/dev/null
# Its warnings are of the order of keys, which is ours to choose.
"$scratch/node_modules/.bin/dclint" --quiet deploy/compose.yaml

for overlay in cpu gpu; do
    kubectl kustomize "deploy/k8s/overlays/$overlay" >"$scratch/$overlay.yaml"
    # It says of KEDA's objects that it does not know them; those come next.
    kubernetes-validate --strict "$scratch/$overlay.yaml"
done
node "$scratch/keda.mjs" "$scratch/cpu.yaml" "$scratch/gpu.yaml"
