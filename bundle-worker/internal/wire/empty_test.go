package wire

import (
	"testing"

	"github.com/modelops-suite/modelops-go/contracts"
)

func TestDisguised(t *testing.T) {
	const rows = "day,infected\n1,2\n"
	table := func(name string) string { return string(fixture(t, name)) }
	for name, test := range map[string]struct {
		outputs map[string]string
		want    string // the error's text; empty for a success
	}{
		"a table":                          {map[string]string{"table": rows}, ""},
		"an empty table":                   {map[string]string{"table": ""}, ""},
		"an empty Arrow table":             {map[string]string{"table": table("empty.arrows")}, ""},
		"Calabaria, success":               {map[string]string{"incidence": rows, "metadata": `{"entrypoint":"m.sir/baseline","seed":1,"params":{"beta":0.1}}`}, ""},
		"Calabaria, no registry":           {map[string]string{"table": "", "metadata": `{"error":"No registry found at .modelops-bundle/registry.yaml","seed":1}`}, "No registry found at .modelops-bundle/registry.yaml"},
		"Calabaria, no model":              {map[string]string{"table": "", "metadata": `{"error":"Model m.sir not found in registry","available":["a","b"]}`}, "Model m.sir not found in registry"},
		"metadata alone":                   {map[string]string{"metadata": `{"error":"nothing"}`}, "nothing"},
		"metadata beside rows":             {map[string]string{"table": rows, "metadata": `{"error":"one cell was negative"}`}, ""},
		"metadata, one table of two empty": {map[string]string{"a": rows, "b": table("empty.arrows"), "metadata": `{"error":"b failed"}`}, "b failed"},
		"error within Arrow, stream":       {map[string]string{"table": table("empty-with-error.arrows")}, "Model models.nope not found in registry"},
		"error within Arrow, file":         {map[string]string{"a": rows, "table": table("empty-batch-with-error.arrow")}, "Model models.nope not found in registry"},
		"error within Arrow with rows":     {map[string]string{"table": table("rows-with-error.arrows")}, ""},
		"a dictionary with an error":       {map[string]string{"result": `{"error": "singular matrix", "rows": []}`}, "singular matrix"},
		"a dictionary with error and rows": {map[string]string{"result": `{"error": "slow", "rows": [1]}`}, ""},
		"an error with a message":          {map[string]string{"result": `{"error": {"message": "singular", "code": 3}}`}, "singular"},
		"a number called error":            {map[string]string{"fit": `{"error": 0.25}`}, ""},
		"no error":                         {map[string]string{"fit": `{"error": null}`, "metadata": `{"error": ""}`, "t": ""}, ""},
		"a list":                           {map[string]string{"fit": `[{"error": "x"}]`}, ""},
		"broken JSON":                      {map[string]string{"fit": `{"error": "x"`}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var seen []emptiness
			for name, data := range test.outputs {
				seen = append(seen, examine(name, []byte(data)))
			}
			err := disguised(seen)
			if test.want == "" {
				if err != nil {
					t.Errorf("a success is the error %v", err)
				}
				return
			}
			e := contracts.AsError(err)
			if e == nil || e.Code != contracts.CodeOutput || e.Message != test.want || e.Hint == "" {
				t.Errorf("got %+v", e)
			}
		})
	}
}

func TestContentType(t *testing.T) {
	for name, test := range map[string]struct{ name, data, want string }{
		"CSV":             {"peak", "day,infected\n1,2.5\n", typeCSV},
		"CSV, no rows":    {"peak", "day,infected\n", typeCSV},
		"CSV, one column": {"peak", "infected\n12\n13.5\n", typeCSV},
		"CSV by name":     {"a.csv", "word\nother\n", typeCSV},
		"CSV with quotes": {"x", "a,b\n\"x,y\",2\n", typeCSV},
		"a list of words": {"x", "word\nother\n", typeText},
		"prose":           {"x", "It went well, mostly.\nThen, at noon, it did not.\n", typeText},
		"JSON":            {"x", ` {"a": 1}`, typeJSON},
		"JSON, a number":  {"x", "12", typeText},
		"Arrow stream":    {"x", string(fixture(t, "rows-with-error.arrows")), typeArrowStream},
		"Arrow file":      {"x", string(fixture(t, "rows.arrow")), typeArrowFile},
		"Parquet":         {"x", "PAR1....PAR1", typeParquet},
		"binary":          {"x", "\x00\x01", typeOther},
		"no UTF-8":        {"x.csv", "\xff,\xfe\n", typeOther},
		"nothing":         {"x.csv", "", typeOther},
		"spaces":          {"x", " \n", typeOther},
	} {
		t.Run(name, func(t *testing.T) {
			if got := contentType(test.name, []byte(test.data)); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
