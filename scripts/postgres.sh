#!/bin/sh
# Makes sure that this machine has PostgreSQL's server programs, which the demo, the tests and a
# service without DATABASE_URL start for themselves. Quiet when there is nothing to do.
set -eu

# The same places as in internal/postgres/embedded.
for initdb in /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb \
	/opt/homebrew/opt/postgresql@*/bin/initdb /usr/local/opt/postgresql@*/bin/initdb; do
	if [ -x "$initdb" ]; then
		exit 0
	fi
done
if command -v initdb >/dev/null; then
	exit 0
fi

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

if command -v apt-get >/dev/null && can_be_root; then
	echo "Installing PostgreSQL: apt-get install postgresql" >&2
	export DEBIAN_FRONTEND=noninteractive
	as_root apt-get update -q >&2
	as_root apt-get install -q -y --no-install-recommends postgresql >&2
	exit 0
fi

echo "PostgreSQL is not installed on this machine. Install it:" >&2
if command -v apt-get >/dev/null; then
	echo "    sudo apt-get install postgresql" >&2
elif command -v dnf >/dev/null; then
	echo "    sudo dnf install postgresql-server" >&2
elif command -v brew >/dev/null; then
	echo "    brew install postgresql@17" >&2
else
	echo "    the server package of PostgreSQL 14 or newer" >&2
fi
echo "or, to run the service, set DATABASE_URL to use a server elsewhere." >&2
exit 1
