package contracts

import (
	"encoding/json"
	"os"
	"testing"
)

func TestEnvironmentCorpus(t *testing.T) {
	var cases []struct{ ID, File, Content, Verdict, Why string }
	data, err := os.ReadFile("testdata/env_files.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		_, w, err := ParseEnvironment(c.File, []byte(c.Content))
		if (err == nil) != (c.Verdict == "accept") {
			t.Errorf("%s %s: err = %v, want %s", c.ID, c.Why, err, c.Verdict)
		}
		t.Log(c.ID, c.Why, "=>", err, w)
	}
}
