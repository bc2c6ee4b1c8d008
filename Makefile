# Two commands: `make demo` and `make test`. Each installs what is missing by itself.

.PHONY: demo test test-wide test-s3 check bench setup setup-test setup-s3 clean

demo: setup
	@./bin/kmodfarm run --config examples/demo.yaml
	@echo
	@echo "Try next: change examples/driver/doorbell.c or its version in examples/demo.yaml and run make demo again," \
		"or ask ./bin/kmodfarm matrix show --config examples/demo.yaml"

test: setup-test
	@npm test --silent

test-wide: setup-test
	@npm run --silent test:wide

# Stores in buckets of real servers: radosgw, Swift, and radosgw with dbstore, which this starts and ends.
test-s3: setup-s3
	@npm run --silent test:wide s3

check: setup-test
	@npm run --silent check

bench: setup-test
	@npm run --silent bench:build

setup:
	@scripts/setup.sh

setup-test:
	@scripts/setup.sh test

setup-s3:
	@scripts/setup.sh s3

clean:
	rm -rf .kmodfarm dist
