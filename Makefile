# A thin front for meson and the test runner; every target installs what it needs (tools/install_deps).
.PHONY: build test demo bench lint fuzz soak clean format

build:
	@tools/install_deps build
	@test -f build/build.ninja || meson setup build >/dev/null
	@ninja -C build

test:
	@tools/install_deps build test demo
	@tools/run_tests

demo: build
	@tools/install_deps demo
	@tests/scenario/demo/run

# Measured is a release build; BENCH=quick is shorter.
bench:
	@tools/install_deps build test demo bench
	@test -f build-release/build.ninja || meson setup build-release -Dbuildtype=release -Ddebug=true >/dev/null
	@ninja -C build-release ambit-ztunnel ambit-waypoint tests/bench/bench_load tests/bench/bench_hop tests/bench/bench_rules
	@AMBIT_BUILD=$(CURDIR)/build-release /usr/bin/python3 tests/bench/run.py
	@AMBIT_BUILD=$(CURDIR)/build-release /usr/bin/python3 tests/bench/waypoint.py

lint:
	@tools/install_deps build test
	@tools/lint

# Longer forms of what `make test` does in seconds.
fuzz:
	@tools/install_deps build test
	@tools/run_fuzz $(or $(SECONDS_EACH),60)

soak: build
	@tools/install_deps test demo
	@tests/scenario/soak/run

format:
	@clang-format-14 -i $$(find src tests -name '*.[ch]')

clean:
	@rm -rf build build-asan build-tsan build-fuzz build-release
