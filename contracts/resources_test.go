package contracts_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelops-suite/modelops-go/contracts"
)

func TestResourcesOver(t *testing.T) {
	bundle := &contracts.Resources{Memory: "1Gi", Cores: 2, Timeout: "1h", Commands: []string{"awk"}}
	for name, test := range map[string]struct {
		asked, bundle *contracts.Resources
		want          contracts.Resources
	}{
		"where the task is silent": {
			&contracts.Resources{Timeout: "5s", Commands: []string{"Rscript", "awk"}}, bundle,
			contracts.Resources{Memory: "1Gi", Cores: 2, Timeout: "5s", Commands: []string{"Rscript", "awk"}},
		},
		"less than the bundle": {&contracts.Resources{Memory: "1Mi", Cores: 1}, bundle, contracts.Resources{Memory: "1Mi", Cores: 1, Timeout: "1h", Commands: []string{"awk"}}},
		"the bundle alone":     {nil, bundle, *bundle},
		"nothing":              {nil, nil, contracts.Resources{}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.asked.Over(test.bundle)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseResources(t *testing.T) {
	want := &contracts.Resources{Memory: "1Gi", Cores: 2, Timeout: "90", Commands: []string{"Rscript"}}
	got, err := contracts.ParseResources([]byte(`{"memory":"1Gi","cores":2,"timeout":90,"commands":["Rscript"]}`))
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	for _, broken := range []string{``, `[]`, `null`, `{"cores":0}`, `{"memory":"much"}`, `{"gpu":1}`, `{"commands":["a b"]}`, `{"timeout":"-1s"}`} {
		if got, err := contracts.ParseResources([]byte(broken)); err == nil || contracts.AsError(err).Code != contracts.CodeInvalidStudy {
			t.Errorf("%s is %+v, %v", broken, got, err)
		}
	}
}

func TestFormatMemory(t *testing.T) {
	for bytes, want := range map[int64]string{
		0: "0 bytes", 1023: "1023 bytes", 1024: "1 KiB", 1536: "1.5 KiB", 100 << 20: "100 MiB", 312<<20 + 700<<10: "313 MiB",
		2_000_000_000: "1.9 GiB", 24 << 30: "24 GiB", 1 << 50: "1024 TiB",
	} {
		if got := contracts.FormatMemory(bytes); got != want {
			t.Errorf("%d is %q, want %q", bytes, got, want)
		}
	}
}
