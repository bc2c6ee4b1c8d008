# Two commands: `make demo` and `make test`. Each installs what is missing by itself.

.PHONY: demo test install install-node test-wide test-s3 test-kubernetes check bench setup setup-test setup-wide setup-s3 setup-kubernetes clean

demo: setup
	@./bin/kmodfarm run --config examples/demo.yaml
	@echo
	@echo "Try next: change examples/driver/doorbell.c or its version in examples/demo.yaml and run make demo again," \
		"or ask ./bin/kmodfarm matrix show --config examples/demo.yaml"

test: setup-test
	@npm test --silent

# The package as npm would have it, for this machine: `kmodfarm` and `matrix-gen` on PATH. PREFIX=… puts it elsewhere.
# It compiles with the packages that `npm ci` or `make setup` installed, and installs none in the checkout.
install:
	@[ -d node_modules/rolldown ] || { echo "make install: packages are missing; run 'make setup' or 'npm ci' first" >&2; exit 3; }
	@place=$$(mktemp -d) && trap 'rm -rf "$$place"' EXIT && npm pack --loglevel=error --pack-destination "$$place" >/dev/null && \
		npm install --global --no-audit --no-fund --loglevel=error $(if $(PREFIX),--prefix "$(PREFIX)") "$$place"/kmodfarm-*.tgz

test-wide: setup-wide
	@npm run --silent test:wide

# Stores in buckets of real servers: radosgw, Swift, and radosgw with dbstore, which this starts and ends.
# The client of nodes, which needs nothing of the checkout then (docs/nodes.md).
install-node:
	@install -d "$(DESTDIR)$(NODE_PREFIX)/lib/kmodfarm" "$(DESTDIR)$(NODE_PREFIX)/bin" "$(DESTDIR)/etc/kmodfarm"
	@install -m 755 deploy/node/kmodfarm-fetch "$(DESTDIR)$(NODE_PREFIX)/lib/kmodfarm"
	@install -m 644 deploy/node/*.sh deploy/node/*.awk "$(DESTDIR)$(NODE_PREFIX)/lib/kmodfarm"
	@ln -sfn ../lib/kmodfarm/kmodfarm-fetch "$(DESTDIR)$(NODE_PREFIX)/bin/kmodfarm-fetch"

NODE_PREFIX = $(or $(PREFIX),/usr/local)

test-s3: setup-s3
	@npm run --silent test:wide s3

# deploy/arc on an API server of Kubernetes, which it builds once, starts and ends.
test-kubernetes: setup-kubernetes
	@npm run --silent test:wide kubernetes

check: setup-test
	@npm run --silent check

bench: setup-test
	@npm run --silent bench:build

setup:
	@scripts/setup.sh

setup-test:
	@scripts/setup.sh test

setup-wide:
	@scripts/setup.sh wide

setup-s3:
	@scripts/setup.sh s3

setup-kubernetes:
	@scripts/setup.sh kubernetes

clean:
	rm -rf .kmodfarm dist
