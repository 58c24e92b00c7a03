module github.com/modelops-suite/modelops-go/bundle-worker

go 1.26.5

require (
	github.com/gofrs/flock v0.13.2
	github.com/google/go-cmp v0.7.0
	github.com/modelops-suite/modelops-go/contracts v0.0.0
	github.com/modelops-suite/modelops-go/modelops-bundle v0.0.0
	github.com/pelletier/go-toml/v2 v2.4.3
	github.com/rogpeppe/go-internal v1.16.0
	golang.org/x/sync v0.24.0
	golang.org/x/sys v0.49.0
)

require golang.org/x/tools v0.51.0 // indirect
