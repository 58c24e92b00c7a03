package contracts

import (
	"encoding/json"
	"os"
	"testing"
)

func TestParamIDVectors(t *testing.T) {
	data, err := os.ReadFile("testdata/param_ids.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		ParamsJSON string   `json:"params_json"`
		ParamID    string   `json:"param_id"`
		Seeds      []uint64 `json:"seeds"`
	}
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, vector := range vectors {
		var params Params
		if err := json.Unmarshal([]byte(vector.ParamsJSON), &params); err != nil {
			t.Errorf("%s: %v", vector.ParamsJSON, err)
			continue
		}
		if got := params.ID(); got != vector.ParamID {
			t.Errorf("%s: ID = %s, want %s", vector.ParamsJSON, got, vector.ParamID)
		}
		for i, want := range vector.Seeds {
			if got := ReplicateSeed(vector.ParamID, i); got != want {
				t.Errorf("%s: seed %d = %d, want %d", vector.ParamsJSON, i, got, want)
			}
		}
	}
}
