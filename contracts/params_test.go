package contracts_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelops-suite/modelops-go/contracts"
)

func parseParams(t *testing.T, text string) contracts.Params {
	t.Helper()
	var params contracts.Params
	if err := params.UnmarshalJSON([]byte(text)); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return params
}

func TestParamIDVectors(t *testing.T) {
	var vectors []struct {
		ParamsJSON string   `json:"params_json"`
		ParamID    string   `json:"param_id"`
		Seeds      []uint64 `json:"seeds"`
	}
	if err := json.Unmarshal(readFile(t, "testdata/param_ids.json"), &vectors); err != nil {
		t.Fatal(err)
	}
	for _, vector := range vectors {
		params := parseParams(t, vector.ParamsJSON)
		if got := params.ID(); got != vector.ParamID {
			t.Errorf("%s: ID = %s, want %s", vector.ParamsJSON, got, vector.ParamID)
		}
		for i, want := range vector.Seeds {
			if got := contracts.ReplicateSeed(vector.ParamID, i); got != want {
				t.Errorf("%s: seed %d = %d, want %d", vector.ParamsJSON, i, got, want)
			}
		}
	}
}

// Golden values of the Python suite (facts, bundle 9.4 and modelops 8.3 S7 to S15).
func TestParamIDGolden(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                                     "02a98351d516148f91f93bb0ce4b4cb6468cb40e04263fb6f257e9ba37365b44",
		`{"x":1}`:                                "4560ff738e380536d589079a5e24b30713f9257440dfb2f0134f7350c0985942",
		`{"x":1.0}`:                              "3f1b615cf1dab4bfd2505c195f18fe8d70035f80beb5b0056c93844204158684",
		`{"x":true}`:                             "a946ed8442ddbc069a69ef6288f455850a8fb2d25937c632930c5dcea78a7046",
		`{"x":"1"}`:                              "c657235f1c6a30dbe85f13fe5d3c5ce02bec02c8484ddc05bfac84014377e2cb",
		`{"x":null}`:                             "3f7c7bd4c96c1098b2f17b6f18c799a8ee713e4c306f65339e0c674db3468430",
		`{"x":[1,2]}`:                            "79b33d3bf2924b4d8c8034d1ec966a55e6378d8a6b8a7f561f12781f04890370",
		`{"s":"é"}`:                              "d70ff9d8a454cb6e1cc9d3358e901cdcf76b32e0a8ce78ca9e3b80823a162852",
		`{"incubation_days":5,"R0":2.5}`:         "66157bd29a3aafa5803aeb996ec2fa14679d9efbf712a0c886f83846340dc5c7",
		`{"learning_rate":0.01,"batch_size":32}`: "38b8bc3f7eb0d25175d156ce77a518329331ae1a05bd77324acc3f504d9539e0",
		`{"beta":0.08,"dur_inf":4.0}`:            "c9de818a58a0be67eb949ab1f4192e0053e23eaf824c2199fd64ddc339027fea",
		`{"beta":0.08}`:                          "a9af7f352b96d76d27b0ef0ffad244ff11feaf5bfb7aaa97b4ec80cdf1a592c7",
		`{"beta":0.1}`:                           "52d399f65dc83c99744a8c52cd3ed51db1fb0a65a83818ce6d25d42485feffac",
		`{"b":1,"a":2}`:                          "761bcc85c0e878619dfba133a5ba1e02aa770b5536200cec5b43c9104f3cdb50",
		`{"a":2,"b":1}`:                          "761bcc85c0e878619dfba133a5ba1e02aa770b5536200cec5b43c9104f3cdb50",
		`{"x":-0.0}`:                             "e69ec3a1fe2a767af4e8d1b8b24b1819d6cb92ff03342e7dde723566f80ea36f",
		`{"x":0.0}`:                              "246dd4fa2ad31c65d54a3a183efbee0d4e69237db1218ea3cf3e2a716b29ddc5",
		`{"x":1e-07}`:                            "adbf9eb5c4904a62f82c73e42db7e6237d69224bed96952a2832601602c69fa3",
		`{"x":1e16}`:                             "fdf63215605c10f64a9d6b34203d5e36bddc2c0f65c2c5602f9d7e6acb6e3933",
		`{"x":1e15}`:                             "6838e20850bb11c92126c805282dad37f37a77a4d4c2acc9f6562e2bc7b9bca7",
		`{"x":1e-5}`:                             "2231c6448ca165bb74a38d4751b8d5b30dbd2ac7f1749ad8487367e039874bd4",
		`{"x":1e-4}`:                             "5c5c480db5cbc4c9b623b170d09eea67a645574aebaaed74a4de3d2415064620",
		`{"x":1e22}`:                             "1670e2c48ae7017bb89e4234189452fc5736487d279a1b8c4f42873ca4ce22c9",
		`{"x":0.30000000000000004}`:              "bdfddbe5d96132f2b00748a529e26bb0a09f66dc5dadcc4277f0736d92250d79",
		`{"x":18446744073709551616}`:             "1560afcd1dc49be7726f78eed4fec154c10b11353b022788d89baa58a007e9d5",
		`{"x":1180591620717411303424}`:           "8030f3f41e3a07f10a0d9ebbd9a3bf01d092b87acd2236640e8b98ebc84585f7",
		`{"x":5e-324}`:                           "f023d2900b7700cbf9ef0ee6818d3510f66edf36a23f2dec169e03594c6991fa",
		`{"x":1.7976931348623157e308}`:           "bc0af5ed8ef55d67abf7334123e8daf154342d63811fec4f20e8ce583e3ced69",
		`{"x":123456789012345680.0}`:             "feafee5559ed0c5ba274b6c132366a819833705924497ab1bd394009d1ec8255",
		`{"x":"é\u2028<>&\"\\\n\t\u007f"}`:       "00a042fa10992df9bf86a014863a5a70e0a1487c8e979693d9e67ae257a0d3ca",
		`{"x":"😀"}`:                              "688ab98ce42448596bd5e7ad2eac445b71f0bc449a653bc3ad83dca392ab7aa4",
		`{"x":"\ud83d\ude00"}`:                   "688ab98ce42448596bd5e7ad2eac445b71f0bc449a653bc3ad83dca392ab7aa4",
		`{"é":1,"z":2,"Z":3,"😀":4,"\uffff":5}`: "5ad028c16ef163fc5935d7c211cff82df3387ae25716ff7f4c95c74869dc754a",
	} {
		if got := parseParams(t, text).ID(); got != want {
			t.Errorf("%s: ID = %s, want %s", text, got, want)
		}
	}
}

func TestReplicateSeedGolden(t *testing.T) {
	for text, want := range map[string][]uint64{
		`{"x":1.0}`:                   {66968601, 378167024, 2558640354, 3768992433},
		`{"beta":0.08,"dur_inf":4.0}`: {3746973567, 2678023210, 842548201},
		`{"beta":0.08}`:               {1047657939, 1741120361, 2700709427},
	} {
		id := parseParams(t, text).ID()
		var got []uint64
		for i := range want {
			got = append(got, contracts.ReplicateSeed(id, i))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func TestNumberSpelling(t *testing.T) {
	for in, want := range map[string]string{
		"1": "1", "-1": "-1", "0": "0", "-0": "0", "1.50": "1.5", "1E5": "100000.0", "1e5": "100000.0", "1e+5": "100000.0",
		"-0.0": "-0.0", "-0e0": "-0.0", "0.0": "0.0", "1e-400": "0.0", "-1e-400": "-0.0", "0.1e1": "1.0", "9007199254740993": "9007199254740993",
		"9007199254740993.0": "9007199254740992.0", "1e15": "1000000000000000.0", "9999999999999998.0": "9999999999999998.0",
		"1e16": "1e+16", "1e100": "1e+100", "0.0001": "0.0001", "0.00001": "1e-05", "123456789.125": "123456789.125",
		strings.Repeat("9", 4300): strings.Repeat("9", 4300),
	} {
		v, err := contracts.NumberValue(in)
		if err != nil || v.Text() != want {
			t.Errorf("NumberValue(%s) = %s, %v, want %s", in, v.Text(), err, want)
		}
	}
	for _, in := range []string{"", "-", "+1", "1.", ".5", "01", "1e", "1e+", "0x1", "1_0", "NaN", "Infinity", "1e400", "-1e400", "1 ", "1a", strings.Repeat("9", 4301)} {
		v, err := contracts.NumberValue(in)
		if err == nil {
			t.Errorf("NumberValue(%q) = %s", in, v.Text())
			continue
		}
		wantCode(t, err, contracts.CodeInvalidStudy)
	}
}

func TestValue(t *testing.T) {
	for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if _, err := contracts.FloatValue(f); err == nil {
			t.Errorf("FloatValue(%v) succeeds", f)
		} else {
			wantCode(t, err, contracts.CodeInvalidStudy, "non-finite")
		}
	}
	two, err := contracts.FloatValue(2)
	if err != nil || two.Text() != "2.0" || two.Equal(contracts.IntValue(2)) {
		t.Errorf("FloatValue(2) = %s, %v", two.Text(), err)
	}
	if i, ok := contracts.IntValue(-7).Int64(); !ok || i != -7 {
		t.Errorf("Int64 = %d, %v", i, ok)
	}
	if _, ok := two.Int64(); ok {
		t.Error("a float is an Int64")
	}
	if f, ok := contracts.IntValue(3).Float64(); !ok || f != 3 {
		t.Errorf("Float64 = %v, %v", f, ok)
	}
	if b, ok := contracts.BoolValue(true).Bool(); !ok || !b {
		t.Error("BoolValue(true) is not true")
	}
	var nested contracts.Value
	text := `{"b":[1,1.0,{"c":null}],"a":"x"}`
	if err := json.Unmarshal([]byte(text), &nested); err != nil {
		t.Fatal(err)
	}
	if got, want := nested.Text(), `{"a":"x","b":[1,1.0,{"c":null}]}`; got != want {
		t.Errorf("Text = %s, want %s", got, want)
	}
	if nested.Members()[0].Key != "b" || len(nested.Members()[0].Value.Items()) != 3 {
		t.Error("the document's order is lost")
	}
	var same contracts.Value
	if err := json.Unmarshal([]byte(`{"a":"x","b":[1,1.0,{"c":null}]}`), &same); err != nil || !same.Equal(nested) {
		t.Errorf("order decides equality, %v", err)
	}
	if got := contracts.KindMap.String(); got != "a mapping" {
		t.Errorf("Kind = %s", got)
	}
}

// manyKeys are n members of a mapping, k0 to k(n-1).
func manyKeys(n int) string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf(`"k%d":%d`, i, i)
	}
	return strings.Join(keys, ",")
}

// The canonical form is Python's json.dumps with ensure_ascii off.
func TestCanonicalString(t *testing.T) {
	in := `"\u0000\u0001\b\t\n\u000b\f\r\u001f \"\\\/\u007f\u0080\u2028<>&\ud83d\ude00"`
	want := "\"\\u0000\\u0001\\b\\t\\n\\u000b\\f\\r\\u001f \\\"\\\\/\x7f\u0080\u2028<>&\U0001F600\""
	var v contracts.Value
	if err := v.UnmarshalJSON([]byte(in)); err != nil {
		t.Fatal(err)
	}
	got, err := v.MarshalJSON()
	if err != nil || string(got) != want {
		t.Errorf("canonical form = %q, want %q, %v", got, want, err)
	}
	if v.Kind() != contracts.KindString {
		t.Errorf("kind = %v", v.Kind())
	}
	var large contracts.Value
	if err := large.UnmarshalJSON([]byte("{" + manyKeys(40) + "}")); err != nil || len(large.Members()) != 40 {
		t.Errorf("40 keys: %d, %v", len(large.Members()), err)
	}
}

func TestJSONRefused(t *testing.T) {
	for text, says := range map[string]string{
		`{"a":1,"a":2}`:                 `key "a" is there twice (line 1, column 8)`,
		"{\"b\":{\n\"a\":1,\n\"a\":2}}": "b.a",
		`{"a":1,"\u0061":2}`:            `key "a" is there twice`,
		`{"a":NaN}`:                     "NaN is not allowed",
		`{"a":Infinity}`:                "Infinity",
		`{"a":-Infinity}`:               "-Infinity",
		`{"a":1e400}`:                   "too large",
		`{"a":1,}`:                      "without a key",
		`{"a" 1}`:                       "has no value",
		`{"a":1`:                        "without",
		`{"a":`:                         "ends too early",
		`{"a":"`:                        "without an end",
		`[1 2]`:                         "without , or ]",
		`{"a":01}`:                      "without , or }",
		`{"a":"\x"}`:                    "invalid escape",
		`{"a":"\ud800"}`:                "invalid escape",
		`{"a":"\ud800\ud800"}`:          "invalid escape",
		`{"a":"\udc00"}`:                "invalid escape",
		"{\"a\":\"\xff\"}":              "not valid UTF-8",
		"{\"a\\n\":\"\\n\xff\"}":        "not valid UTF-8",
		"{\"a\":\"\n\"}":                "control character",
		`{"a":"\u12g4"}`:                "invalid escape",
		`{"a":"\u12`:                    "invalid escape",
		`{"a":"\n`:                      "without an end",
		"{\"a\":\"\\n\x01\"}":           "control character",
		`{` + manyKeys(40) + `,"k3":1}`: `key "k3" is there twice`,
		`{"a":tru}`:                     `"t"`,
		`{} {}`:                         "after its end",
		"\ufeff{}":                      "byte order mark",
		``:                              "ends too early",
		strings.Repeat("[", 100000):     "nested too deeply",
	} {
		var v contracts.Value
		if err := v.UnmarshalJSON([]byte(text)); err == nil {
			t.Errorf("%.40q is accepted", text)
		} else {
			wantCode(t, err, contracts.CodeInvalidStudy, says)
		}
	}
	var params contracts.Params
	if err := params.UnmarshalJSON([]byte(`[1]`)); err == nil {
		t.Error("a list is read as parameters")
	}
}

func TestParamsRoundTrip(t *testing.T) {
	params := parseParams(t, `{"i": 18446744073709551616, "f": 1.50, "b": false, "s": "<é\u2028>", "z": -0.0}`)
	data, err := json.Marshal(params)
	if err != nil {
		t.Fatal(err)
	}
	if got := parseParams(t, string(data)); !got.Equal(params) || got.ID() != params.ID() {
		t.Errorf("%s reads back differently", data)
	}
	if diff := cmp.Diff([]string{"b", "f", "i", "s", "z"}, params.Names()); diff != "" {
		t.Error(diff)
	}
}
