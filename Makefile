# The ModelOps suite. `make help` lists what can be made.
#
# Everything is built into bin/ and .cache/ of this checkout; nothing outside it is
# written but Go's own caches.

MODULES := contracts modelops-bundle bundle-worker modelops
CLIS    := mops modelops-bundle
GO      ?= go
BIN     := bin
# The programs as released: without C, whose libraries every start would link, and without
# symbols and what prints manual pages they start a sixth faster.
STATIC  := CGO_ENABLED=0 $(GO) build -trimpath -tags urfave_cli_no_docs -ldflags '-s -w'
# The race detector needs a C compiler; without one the tests run without it.
RACE    := $(if $(shell command -v $${CC:-gcc} 2>/dev/null || command -v cc 2>/dev/null),-race,)
PACKAGES = $(foreach m,$(MODULES),./$(m)/...)

.DEFAULT_GOAL := help
.PHONY: help build demo demo-dask test check bench bench-go bench-worker bench-peers tidy docs cross peers readers azurite s3 pulumi test-azure test-starsim kubernetes test-kubernetes images images-push images-lock test-images clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

build: ## build mops (also as modelops), modelops-bundle and bundle-worker into bin/
	@mkdir -p $(BIN)
	$(STATIC) -o $(BIN)/ ./modelops/cmd/mops ./modelops/cmd/mops-cloud ./modelops-bundle/cmd/modelops-bundle ./bundle-worker/cmd/bundle-worker
	@ln -sf mops $(BIN)/modelops

demo-dask: build ## the same on a Dask cluster on this machine
	@sh scripts/demo.sh --with-dask

demo: build ## run the whole flow on this machine: infra, init, push, 1,000 simulations, tables
	@sh scripts/demo.sh

peers: ## build oras and crane from their Go modules into .cache/, for the tests
	@mkdir -p .cache/peers
	cd modelops/internal/acceptance/peers && GOWORK=off $(GO) build -mod=readonly -o $(CURDIR)/.cache/peers/ \
		oras.land/oras/cmd/oras github.com/google/go-containerregistry/cmd/crane

READERS := .cache/readers
readers: $(READERS)/done ## install pandas, Polars, DuckDB and pyarrow into .cache/, for the tests

$(READERS)/done: modelops/internal/results/readers/requirements.txt
	rm -rf $(READERS)
	python3 -m venv $(READERS)
	$(READERS)/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: -r $<
	@touch $@

pulumi: ## build Pulumi's engine once into .cache/pulumi/, for the tests: 3 to 10 minutes, 2 GB of memory
	@version=$$(sed -n 's|.*pulumi/pkg/v3 v\([^ ]*\).*|\1|p' modelops/internal/infra/enginetest/cli/go.mod); \
	if [ "$$(.cache/pulumi/bin/pulumi version 2>/dev/null)" != $$version ]; then \
		echo "building Pulumi $$version from its module; once, and it takes some minutes"; mkdir -p .cache/pulumi/bin; \
		cd modelops/internal/infra/enginetest/cli && CGO_ENABLED=0 GOWORK=off $(GO) build -mod=readonly \
			-ldflags "-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=$$version" \
			-o $(CURDIR)/.cache/pulumi/bin/pulumi github.com/pulumi/pulumi/pkg/v3/cmd/pulumi; \
	fi

AZURITE := .cache/azurite
azurite: $(AZURITE)/done ## install the emulator of Azure storage into .cache/, for the tests

# Two may come here at once: each installs for itself, and the first one's stays.
$(AZURITE)/done: modelops-bundle/blobstore/azuritetest/package-lock.json
	@mkdir -p .cache
	@set -e; new=$$(mktemp -d .cache/azurite.XXXXXX); trap 'rm -rf "$$new"' EXIT; \
		cp $(dir $<)package.json $< $$new/; \
		npm --prefix $$new ci --ignore-scripts --no-audit --no-fund --loglevel=error; \
		touch $$new/done; \
		if [ $< -nt $@ ]; then rm -rf $(AZURITE); fi; \
		[ -e $@ ] || mv $$new $(AZURITE)

s3: ## build the S3 server into .cache/, for the tests; a minute
	@version=$$(sed -n 's|.*versity/versitygw \(v[^ ]*\).*|\1|p' modelops-bundle/blobstore/s3test/server/go.mod); \
	if [ "$$(cat .cache/s3/version 2>/dev/null)" != "$$version" ]; then \
		mkdir -p .cache/s3; new=$(CURDIR)/.cache/s3/versitygw.$$$$; (cd modelops-bundle/blobstore/s3test/server && CGO_ENABLED=0 GOWORK=off \
			$(GO) build -mod=readonly -ldflags '-s -w' -o $$new github.com/versity/versitygw/cmd/versitygw) && \
		mv $$new .cache/s3/versitygw && echo "$$version" > .cache/s3/version; \
	fi

test: build peers readers azurite s3 pulumi ## run every test, with real registries, Python and processes
	MODELOPS_TEST_BIN=$(CURDIR)/$(BIN) MODELOPS_TEST_PEERS=$(CURDIR)/.cache/peers MODELOPS_TEST_READERS=$(CURDIR)/$(READERS) \
		MODELOPS_TEST_DASK=$(CURDIR)/.cache/dask MODELOPS_TEST_AZURITE=$(CURDIR)/$(AZURITE) MODELOPS_TEST_S3=$(CURDIR)/.cache/s3/versitygw MODELOPS_TEST_PULUMI=$(CURDIR)/.cache/pulumi/bin/pulumi \
		$(GO) test $(RACE) -count=1 -timeout 30m $(PACKAGES)

test-azure: pulumi ## make and destroy environments on a stand-in for Azure, with everything going wrong in turn
	MODELOPS_TEST_PULUMI=$(CURDIR)/.cache/pulumi/bin/pulumi MODELOPS_TEST_AZURE=all \
		$(GO) test -count=1 -timeout 60m -run 'Azure|TestScript/infra_azure|TestDrift|TestAdopt|TestNotOurs|TestOutputs|TestCluster' \
		./modelops/internal/infra/azure ./modelops/internal/cli

test-starsim: build ## run 64 parameter sets with 4 replicates of examples/starsim-sir on processes and on Dask, and compare all outputs
	MODELOPS_TEST_BIN=$(CURDIR)/$(BIN) MODELOPS_TEST_DASK=$(CURDIR)/.cache/dask MODELOPS_TEST_STARSIM=all \
		$(GO) test -count=1 -timeout 30m -v -run TestDaskSameBytes ./modelops/internal/jobs/jobscript

kubernetes: ## build a Kubernetes API server, its controllers and simulated nodes once into .cache/kubernetes/, for the tests: 10 minutes
	@GO=$(GO) sh scripts/kubernetes.sh .cache/kubernetes

test-kubernetes: build s3 kubernetes ## apply workspaces to a real API server, and run jobs' drivers on a simulated cluster
	MODELOPS_TEST_BIN=$(CURDIR)/$(BIN) MODELOPS_TEST_DASK=$(CURDIR)/.cache/dask MODELOPS_TEST_S3=$(CURDIR)/.cache/s3/versitygw MODELOPS_TEST_KUBERNETES=$(CURDIR)/.cache/kubernetes \
		$(GO) test -tags kubernetes -count=1 -timeout 20m -run Kubernetes \
		$(addprefix ./,$(sort $(dir $(shell grep -rl --include='*_test.go' internal/kube/kubetest modelops))))

check: build ## formatting, vet, generated documents, cross-compilation of everything, tests
	@test -z "$$(gofmt -l $(MODULES))" || { echo "not formatted:"; gofmt -l $(MODULES); exit 1; }
	$(GO) vet $(PACKAGES)
	$(GO) vet -tags kubernetes,images ./modelops/...
	GOOS=windows $(GO) vet ./contracts/... ./modelops-bundle/... ./modelops/...
	GOOS=darwin $(GO) vet $(PACKAGES)
	$(MAKE) test

bench-peers: ## build oras, crane and regctl from their Go modules into .cache/bench-peers/
	@mkdir -p .cache/bench-peers
	cd modelops-bundle/internal/bench/peers && GOWORK=off CGO_ENABLED=0 $(GO) build -mod=readonly -trimpath -ldflags '-s -w' -o $(CURDIR)/.cache/bench-peers/ \
		oras.land/oras/cmd/oras github.com/google/go-containerregistry/cmd/crane github.com/regclient/regclient/cmd/regctl

# make bench BENCH="W1 W4 W4csv" ROUNDS=1 LINKS=loopback is a look of two minutes, and
# writes no page.
ROUNDS ?= 3
WAN_ROUNDS ?= 1
LINKS  ?= loopback wan
bench: build bench-peers ## move directories, against other clients, and write docs/benchmarks.md (BENCH="W1 W4": these only)
	$(GO) run ./modelops-bundle/internal/bench -bin $(BIN) -peers .cache/bench-peers -rounds $(ROUNDS) -wan-rounds $(WAN_ROUNDS) -links "$(LINKS)" \
		$(if $(BENCH),$(BENCH),-out docs/benchmarks.md)

bench-worker: build peers ## run the worker's benchmarks, whose figures are ratios: docs/worker.md says what they are held against
	MODELOPS_TEST_BIN=$(CURDIR)/$(BIN) MODELOPS_TEST_PEERS=$(CURDIR)/.cache/peers $(GO) test -run '^$$' -benchtime 1x \
		-bench '^Benchmark(Start|EnsureLocal|Crowd|ColdStart|ServeNoOp|Reuse|NoOpTasks)$$' \
		./bundle-worker/internal/cli ./bundle-worker/internal/pyenv ./modelops/internal/jobs/jobscript

bench-go: build peers ## run the Go benchmarks: what single packages cost
	MODELOPS_TEST_BIN=$(CURDIR)/$(BIN) MODELOPS_TEST_PEERS=$(CURDIR)/.cache/peers MODELOPS_TEST_DASK=$(CURDIR)/.cache/dask $(GO) test -run '^$$' -bench . -benchtime 3x $(PACKAGES)

tidy: ## tidy every go.mod, which go.work alone cannot do
	@for m in $(MODULES); do \
		(cd $$m && for s in contracts modelops-bundle; do \
			$(GO) mod edit -replace=github.com/modelops-suite/modelops-go/$$s=../$$s; done; \
		 GOWORK=off $(GO) mod tidy; status=$$?; for s in contracts modelops-bundle; do \
			$(GO) mod edit -dropreplace=github.com/modelops-suite/modelops-go/$$s; done; exit $$status) || exit 1; \
	done

docs: ## write docs/cli, docs/exit-codes.md and the keys in docs/configuration.md from the programs
	$(GO) test -run Documentation ./contracts ./modelops-bundle/internal/cli ./bundle-worker/internal/cli ./modelops/internal/cli ./modelops/internal/infra/config -update

cross: ## compile the CLIs for Linux, macOS and Windows, the worker for Linux and macOS
	@set -e; for target in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64; do \
		os=$${target%/*}; arch=$${target#*/}; out=$(BIN)/$$os-$$arch; mkdir -p $$out; \
		worker=./bundle-worker/cmd/bundle-worker; [ $$os = windows ] && worker=; \
		echo "$$target"; \
		GOOS=$$os GOARCH=$$arch $(STATIC) -o $$out/ \
			./modelops/cmd/mops ./modelops/cmd/mops-cloud ./modelops-bundle/cmd/modelops-bundle $$worker; \
	done

images: ## build the images of worker, scheduler and driver with docker, podman or buildah: docs/images.md
	@GO="$(GO)" sh scripts/images.sh build

images-push: ## push them, and write their digests into images.lock (IMAGES_PREFIX=registry.example.org/team)
	@sh scripts/images.sh push

images-lock: ## lock anew the packages of the images that modelops/images/requirements/*.in ask for
	@mkdir -p .cache/images
	python3 -m venv .cache/images/uv
	.cache/images/uv/bin/python -m pip install --quiet --disable-pip-version-check $$(grep ^uv== modelops/images/requirements/worker.in)
	@cd modelops/images/requirements && for lock in worker scheduler; do \
		../../../.cache/images/uv/bin/uv pip compile --quiet --no-config --python-version 3.13 --python-platform linux --generate-hashes \
			--no-annotate --only-binary :all: --custom-compile-command "make images-lock" --output-file $$lock.txt $$lock.in || exit 1; \
	done

test-images: build azurite ## build the images with buildah, one of them twice, look into them and run a job in them; as root
	MODELOPS_TEST_BIN=$(CURDIR)/$(BIN) MODELOPS_TEST_DASK=$(CURDIR)/.cache/dask MODELOPS_TEST_AZURITE=$(CURDIR)/$(AZURITE) \
		MODELOPS_TEST_IMAGES=$(CURDIR)/.cache/images $(GO) test -tags images -count=1 -timeout 60m -v ./modelops/images

clean: ## remove what was built here
	rm -rf $(BIN) .cache .demo
