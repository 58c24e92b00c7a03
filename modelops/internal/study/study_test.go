package study

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelops-suite/modelops-go/contracts"
)

func parse(t *testing.T, specs ...string) []Parameter {
	t.Helper()
	var params []Parameter
	for _, spec := range specs {
		p, err := ParseParameter(spec)
		if err != nil {
			t.Fatal(err)
		}
		params = append(params, p)
	}
	return params
}

// texts are the sets as JSON.
func texts(t *testing.T, sets []contracts.ParameterSet, err error) []string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, set := range sets {
		data, err := set.Params.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		if set.Seed != nil {
			text += fmt.Sprint(" ", *set.Seed)
		}
		list = append(list, text)
	}
	return list
}

func TestGrid(t *testing.T) {
	for _, tc := range []struct {
		specs []string
		want  []string
	}{
		{[]string{"beta=0.1:0.5:5"}, []string{`{"beta":0.1}`, `{"beta":0.2}`, `{"beta":0.3}`, `{"beta":0.4}`, `{"beta":0.5}`}},
		{[]string{"b=1,2", "a=0.50,1e3"}, []string{`{"a":0.5,"b":1}`, `{"a":1000.0,"b":1}`, `{"a":0.5,"b":2}`, `{"a":1000.0,"b":2}`}},
		{[]string{"n=int:100:1000:4"}, []string{`{"n":100}`, `{"n":400}`, `{"n":700}`, `{"n":1000}`}},
		{[]string{"x=1:3:3"}, []string{`{"x":1.0}`, `{"x":2.0}`, `{"x":3.0}`}},
		{[]string{"mode=fast,slow", "on=true"}, []string{`{"mode":"fast","on":true}`, `{"mode":"slow","on":true}`}},
		{[]string{"zip=007"}, []string{`{"zip":"007"}`}},
		{[]string{"big=123456789012345678901234567890"}, []string{`{"big":123456789012345678901234567890}`}},
	} {
		sets, err := Grid(parse(t, tc.specs...))
		if diff := cmp.Diff(tc.want, texts(t, sets, err)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tc.specs, diff)
		}
	}
}

func TestRefused(t *testing.T) {
	for spec, says := range map[string]string{
		"beta":             "NAME=VALUES",
		"=1":               "NAME=VALUES",
		"beta=":            "missing",
		"beta=1,,2":        "missing",
		"beta=.5":          "write 0.5",
		"beta=+5":          "write 5",
		"beta=nan":         "finite",
		"beta=1e400":       "too large",
		"beta=0.5:0.1:3":   "not below",
		"beta=0.1:0.1:3":   "not below",
		"beta=a:b":         "not a number",
		"beta=0.1:0.5:1":   "steps",
		"beta=0.1:0.5:x":   "steps",
		"beta=0.1:0.5:5:6": "parts",
		"n=int:5":          "LOW:HIGH",
		"n=int:0.5:3":      "whole",
		"n=int:1:1e9999":   "out of range",
		"beta=0.1:1e400":   "out of range",
		"beta =1":          "NAME=VALUES",
	} {
		_, err := ParseParameter(spec)
		if err == nil || !strings.Contains(err.Error(), says) || contracts.AsError(err).Code != contracts.CodeUsage {
			t.Errorf("%s: err = %v, want one that says %q", spec, err, says)
		}
	}
	for says, specs := range map[string][]string{
		"steps":     {"beta=0.1:0.5"},
		"twice":     {"a=1", "a=2"},
		"divide":    {"n=int:1:4:3"},
		"more than": {"a=int:1:10000:10000", "b=int:1:10000:10000"},
	} {
		if _, err := Grid(parse(t, specs...)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("grid of %v: err = %v, want one that says %q", specs, err, says)
		}
	}
	for says, specs := range map[string][]string{
		"number of steps": {"beta=0.1:0.5:5"},
		"varies":          {"beta=0.1"},
		"twice":           {"a=0:1", "a=0:1"},
	} {
		if _, err := Random(parse(t, specs...), Halton, 4, 1); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("random of %v: err = %v, want one that says %q", specs, err, says)
		}
	}
	if _, err := Random(parse(t, "a=0:1"), Halton, 0, 1); err == nil {
		t.Error("no samples are accepted")
	}
	if _, err := Random(parse(t, "a=0:1"), "sobol", 4, 1); err == nil || !strings.Contains(err.Error(), Halton) {
		t.Errorf("an unknown method: %v", err)
	}
	if _, err := Grid(nil); err == nil {
		t.Error("a grid of nothing is accepted")
	}
}

// The samples of a seed never change: studies that people have cite them.
func TestRandomGolden(t *testing.T) {
	specs := []string{"beta=0.05:0.8", "population=int:100:1000", "mode=fast,slow", "gamma=0.1"}
	for method, want := range map[string][]string{
		Halton: {
			`{"beta":0.316876978415,"gamma":0.1,"mode":"fast","population":512}`,
			`{"beta":0.691876978415,"gamma":0.1,"mode":"slow","population":211}`,
			`{"beta":0.129376978415,"gamma":0.1,"mode":"slow","population":812}`,
		},
		LatinHypercube: {
			`{"beta":0.76608607421,"gamma":0.1,"mode":"slow","population":403}`,
			`{"beta":0.198507500416,"gamma":0.1,"mode":"fast","population":169}`,
			`{"beta":0.382357283539,"gamma":0.1,"mode":"fast","population":861}`,
		},
	} {
		sets, err := Random(parse(t, specs...), method, 3, 7)
		if diff := cmp.Diff(want, texts(t, sets, err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", method, diff)
		}
	}
}

func TestRandomProperties(t *testing.T) {
	const n = 64
	for _, method := range []string{Halton, LatinHypercube} {
		params := parse(t, "x=-1:3", "k=int:1:8", "m=a,b")
		sets, err := Random(params, method, n, 3)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Random(params, method, n, 3)
		if err != nil {
			t.Fatal(err)
		}
		other, err := Random(params, method, n, 4)
		if err != nil {
			t.Fatal(err)
		}
		quarters, whole, words := map[int]int{}, map[int64]int{}, map[string]int{}
		same := true
		for i, set := range sets {
			if !set.Params.Equal(again[i].Params) {
				t.Fatalf("%s: set %d differs from run to run", method, i)
			}
			same = same && set.Params.Equal(other[i].Params)
			x, ok := set.Params["x"].Float64()
			k, isInt := set.Params["k"].Int64()
			if !ok || set.Params["x"].Kind() != contracts.KindFloat || x < -1 || x > 3 || !isInt || k < 1 || k > 8 {
				t.Fatalf("%s: set %d is %v", method, i, set.Params)
			}
			quarters[int(x+1)]++
			whole[k]++
			words[set.Params["m"].Text()]++
		}
		if same {
			t.Errorf("%s: the seed makes no difference", method)
		}
		for q, count := range quarters {
			if count != n/4 {
				t.Errorf("%s: quarter %d has %d points, want %d", method, q, count, n/4)
			}
		}
		if len(whole) != 8 || len(words) != 2 {
			t.Errorf("%s: %v, %v", method, whole, words)
		}
	}
}

func TestTable(t *testing.T) {
	sets, err := Table("t.csv", strings.NewReader("\xef\xbb\xbfbeta,n, name ,on,s\r\n0.10,5,a,TRUE,7\r\n1E5,-0,\"b,c\",false,18446744073709551615\r\n"), "s")
	want := []string{
		`{"beta":0.1,"n":5,"name":"a","on":true} 7`,
		`{"beta":100000.0,"n":0,"name":"b,c","on":false} 18446744073709551615`,
	}
	if diff := cmp.Diff(want, texts(t, sets, err)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTableRefused(t *testing.T) {
	for says, content := range map[string]string{
		"is empty":              "",
		"no row":                "a,b\n",
		"no name":               "a,\n1,2\n",
		"twice":                 "a,a\n1,2\n",
		"must be the":           "0.1,0.2\n0.3,0.4\n",
		"row 3, column b":       "a,b\n1,2\n1,\n",
		"above it":              "a\n1\nNA\n",
		"finite":                "a\nNaN\n",
		"wrong number of field": "a,b\n1\n",
		"not a seed":            "a,s\n1,-1\n",
	} {
		seed := ""
		if strings.Contains(says, "seed") {
			seed = "s"
		}
		_, err := Table("t.csv", strings.NewReader(content), seed)
		if err == nil || !strings.Contains(err.Error(), says) || contracts.AsError(err).Code != contracts.CodeInvalidStudy {
			t.Errorf("%q: err = %v, want one that says %q", content, err, says)
		}
	}
	_, err := Table("t.csv", strings.NewReader("a,b\n,x\n1,\nNaN,2\n"), "")
	if e, ok := errors.AsType[*contracts.Error](err); !ok || len(e.Problems) != 4 {
		t.Errorf("not every problem is told: %+v", e)
	}
	if _, err := Table("t.csv", strings.NewReader("a\n1\n"), "s"); err == nil {
		t.Error("a column of seeds that is not there is accepted")
	}
}

// What a design makes is a valid study that reads back equal.
func FuzzParseParameter(f *testing.F) {
	for _, seed := range []string{"a=1:2:3", "a=int:1:9:3", "a=x,y", "a=1e5,-0.0", "a=1:1e300:2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParseParameter(text)
		if err != nil {
			return
		}
		if p.Range != nil && p.Range.Steps > 1000 {
			return
		}
		sets, err := Grid([]Parameter{p})
		if err != nil {
			return
		}
		data, err := (&contracts.SimulationStudy{Model: "m.n", Scenario: "s", Replicates: 1, ParameterSets: sets}).Marshal()
		if err != nil {
			return // names and strings that are no text
		}
		back, err := contracts.ParseStudy("", data)
		if err != nil || len(back.ParameterSets) != len(sets) {
			t.Fatalf("%q: %v", text, err)
		}
		for i, set := range back.ParameterSets {
			if !set.Params.Equal(sets[i].Params) {
				t.Errorf("%q: set %d is %v, was %v", text, i, set.Params, sets[i].Params)
			}
		}
	})
}
