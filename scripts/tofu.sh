# shellcheck shell=bash
# Where OpenTofu (or Terraform) and its providers are: tofu where it is, else terraform; providers from TOKEN_TF_PLUGINS (an
# unpacked provider mirror), from such a mirror in one of the usual places, or from the registry.
#
# Sourced: tofu_find FILE sets TOFU and mirror (empty where there is none) and writes FILE for TF_CLI_CONFIG_FILE.
# Run: bash scripts/tofu.sh FILE does the same and prints program and mirror, one a line.

tofu_find() {
  local place
  TOFU=$(command -v tofu || command -v terraform || true)
  mirror=
  for place in "${TOKEN_TF_PLUGINS:-}" {/opt,/usr/local/share,/usr/share,"$HOME"}/tf-plugins /usr/local/share/terraform/plugins "$HOME/.terraform.d/plugins"; do
    if [ -n "$place" ] && [ -d "$place" ]; then mirror=$place; break; fi
  done
  {
    printf 'disable_checkpoint = true\n'
    if [ -n "$mirror" ]; then
      printf 'provider_installation {\n  filesystem_mirror {\n    path    = "%s"\n    include = ["registry.terraform.io/*/*", "registry.opentofu.org/*/*"]\n  }\n}\n' "$mirror"
    fi
  } > "$1"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -euo pipefail
  tofu_find "$1"
  printf '%s\n%s\n' "$TOFU" "$mirror"
fi
