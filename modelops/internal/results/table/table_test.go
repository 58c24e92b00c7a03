package table

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/google/go-cmp/cmp"
	"github.com/modelops-suite/modelops-go/contracts"
)

type nopCloser struct{ *bytes.Reader }

func (nopCloser) Close() error { return nil }

func input(name string, data []byte) Input {
	return Input{Name: name, Size: int64(len(data)), Open: func() (io.ReadSeekCloser, error) { return nopCloser{bytes.NewReader(data)}, nil }}
}

// show is a table as text: the header with the types, then the rows.
func show(in Input) (string, error) {
	var names []string
	var kinds []Kinds
	var rows [][]Cell
	for chunk, err := range Read(in) {
		if err != nil {
			return "", err
		}
		if names == nil {
			names, kinds = make([]string, len(chunk.Columns)), make([]Kinds, len(chunk.Columns))
		}
		for row := range chunk.Rows {
			var cells []Cell
			for i, column := range chunk.Columns {
				cell := column.At(row)
				kinds[i] |= cell.Kind
				cells = append(cells, cell)
			}
			rows = append(rows, cells)
		}
		for i, column := range chunk.Columns {
			names[i] = column.Name
			if len(rows) == 0 {
				kinds[i] = column.Declared
			}
		}
	}
	var lines []string
	var header []string
	for i, name := range names {
		header = append(header, fmt.Sprintf("%s:%s", name, kinds[i].Type().Arrow().Name()))
	}
	lines = append(lines, strings.Join(header, " "))
	for _, row := range rows {
		var line []string
		for i, cell := range row {
			if cell.IsNull(kinds[i].Type()) {
				line = append(line, "-")
			} else {
				line = append(line, cell.String())
			}
		}
		lines = append(lines, strings.Join(line, " "))
	}
	return strings.Join(lines, "\n"), nil
}

func TestText(t *testing.T) {
	for name, tc := range map[string]struct{ content, want string }{
		"types":            {"i,f,s,b,u\n1,1.50,x,TRUE,18446744073709551615\n-2,1e5,y,false,0\n", "i:int64 f:float64 s:utf8 b:bool u:uint64\n1 1.50 x TRUE 18446744073709551615\n-2 1e5 y false 0"},
		"mixed":            {"a,b,c,d\n1,TRUE,1,-1\n2.5,1,x,18446744073709551615\n", "a:float64 b:utf8 c:utf8 d:utf8\n1 TRUE 1 -1\n2.5 1 x 18446744073709551615"},
		"missing":          {"a,b,c\n1,,NA\nNA,x,NA\n,NA,z\n", "a:int64 b:utf8 c:utf8\n1 - NA\n- x NA\n- NA z"},
		"codes":            {"zip,n\n01234,1\n99999,2\n", "zip:utf8 n:int64\n01234 1\n99999 2"},
		"beyond 64 bits":   {"a,b\n123456789012345678901234567890,1\n", "a:utf8 b:int64\n123456789012345678901234567890 1"},
		"not finite":       {"a,b,c\nNaN,inf,-Infinity\n1,2,3\n", "a:float64 b:float64 c:float64\nNaN inf -Infinity\n1 2 3"},
		"index":            {",a\n0,1\n1,2\n", "index:int64 a:int64\n0 1\n1 2"},
		"no rows":          {"a,b\n", "a:utf8 b:utf8"},
		"quoted, CRLF":     {"\xef\xbb\xbf\"a\",b\r\n\"x, y\",\"1\"\r\n", "a:utf8 b:int64\nx, y 1"},
		"tabs":             {"a\tb\n1\tx,y\n", "a:int64 b:utf8\n1 x,y"},
		"one column":       {"final_size\n12\n13\n", "final_size:int64\n12\n13"},
		"records":          {`[{"a":1,"b":"x"},{"b":null,"c":1.50,"a":2}]`, "a:int64 b:utf8 c:float64\n1 x -\n2 - 1.50"},
		"columns":          {`{"t":[0,1],"n":[1e3,"x"]}`, "t:int64 n:utf8\n0 1e3\n1 x"},
		"one record":       {`{"computed_value": 24690.0, "status": "completed"}`, "computed_value:float64 status:utf8\n24690.0 completed"},
		"nested":           {`[{"a":[1, 2],"b":{"c":true}}]`, "a:utf8 b:utf8\n[1,2] {\"c\":true}"},
		"no records":       {`[]`, ""},
		"Python's numbers": {`[{"a":NaN,"b":[1,NaN,-Infinity],"c":"NaN"},{"a":-Infinity,"b":"Infinity \"NaN\"","c":""}]`, "a:float64 b:utf8 c:utf8\nNaN [1,NaN,-Infinity] NaN\n-Infinity Infinity \"NaN\" "},
		"lines":            {"{\"a\":1,\"b\":[1, 2]}\r\n\n{\"c\":NaN,\"a\":2.5}\n", "a:float64 b:utf8 c:float64\n1 [1,2] -\n2.5 - NaN"},
		"pandas":           {`{"x":{"0":1,"1":2},"s":{"0":"a","1":null}}`, "x:int64 s:utf8\n1 a\n2 -"},
		"booleans":         {`[{"a":true},{"a":false}]`, "a:bool\ntrue\nfalse"},
		"true and numbers": {`[{"a":true},{"a":1}]`, "a:utf8\ntrue\n1"},
	} {
		got, err := show(input(name, []byte(tc.content)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestNotTable(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "prose": "hello\nworld\n", "word": "hello", "ragged": "a,b\n1\n", "no header": "1,2\n3,4\n", "one number": "42\n",
		"same name": "a,a\n1,2\n", "quote": "a,b\n\"x,1\n", "picture": "\x89PNG\r\n\x1a\n\x00\x00", "zeros": "\x00\x00",
		"half JSON": `{"a": [1`, "unequal": `{"a":[1],"b":[1,2]}`, "mappings": `{"a":{"b":1}}`, "scalars": `[1,2]`, "two": `{"a":1}{"a":2}`,
		"twice": `[{"a":1,"a":2}]`, "mixed": `{"a":[1],"b":2}`, "nothing": `{}`, "broken line": "{\"a\":1}\n{\"a\":\n", "lines of lists": "{\"a\":1}\n[1]\n", "latin": "a,b\n\xe4,1\n",
		"half Arrow": "ARROW1\x00\x00garbage", "half stream": "\xff\xff\xff\xff\x10\x00\x00\x00abc", "half Parquet": "PAR1garbage", "deep": strings.Repeat("[", 100000),
	} {
		if got, err := show(input(name, []byte(content))); !IsNotTable(err) {
			t.Errorf("%s: %q, %v; want no table", name, got, err)
		}
	}
	if got, err := show(input("notes.csv", []byte("note\nhello\n"))); err != nil || got != "note:utf8\nhello" {
		t.Errorf("what calls itself CSV: %q, %v", got, err)
	}
}

// An output that cannot be read is an error of its own.
func TestUnreadable(t *testing.T) {
	broken := errors.New("the disk is gone")
	in := Input{Name: "x", Size: 10, Open: func() (io.ReadSeekCloser, error) { return nil, broken }}
	if _, err := show(in); !errors.Is(err, broken) || IsNotTable(err) {
		t.Errorf("err = %v, want %v", err, broken)
	}
}

// batch is a batch with columns of many types.
func batch(t *testing.T) arrow.RecordBatch {
	t.Helper()
	fields := []arrow.Field{
		{Name: "i8", Type: arrow.PrimitiveTypes.Int8, Nullable: true},
		{Name: "u64", Type: arrow.PrimitiveTypes.Uint64, Nullable: true},
		{Name: "f32", Type: arrow.PrimitiveTypes.Float32, Nullable: true},
		{Name: "s", Type: arrow.BinaryTypes.LargeString, Nullable: true},
		{Name: "b", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
		{Name: "raw", Type: arrow.BinaryTypes.Binary, Nullable: true},
		{Name: "day", Type: arrow.FixedWidthTypes.Date32, Nullable: true},
		{Name: "naive", Type: &arrow.TimestampType{Unit: arrow.Nanosecond}, Nullable: true},
		{Name: "zoned", Type: &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "Europe/Berlin"}, Nullable: true},
		{Name: "list", Type: arrow.ListOf(arrow.PrimitiveTypes.Int64), Nullable: true},
		{Name: "word", Type: &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}, Nullable: true},
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fields, nil))
	row := `{"i8":-5,"u64":18446744073709551615,"f32":0.5,"s":"ä","b":true,"raw":"AAE=","day":"2026-01-15","naive":"2026-01-15 10:30:00.000001","zoned":"2026-01-15 10:30:00Z","list":[1,2],"word":"x"}`
	if err := b.UnmarshalJSON([]byte("[" + row + ",{}]")); err != nil {
		// the builder takes one row per document
		if err := json.Unmarshal([]byte(row), b); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte("{}"), b); err != nil {
			t.Fatal(err)
		}
	}
	return b.NewRecordBatch()
}

const batchShown = "i8:int64 u64:uint64 f32:float64 s:utf8 b:bool raw:binary day:date32 naive:timestamp zoned:timestamp list:utf8 word:utf8\n" +
	"-5 18446744073709551615 0.5 ä true AAE= 2026-01-15 2026-01-15T10:30:00.000001 2026-01-15T10:30:00Z [1,2] x\n" +
	"- - - - - - - - - - -"

func TestArrow(t *testing.T) {
	record := batch(t)
	var stream, file bytes.Buffer
	w := ipc.NewWriter(&stream, ipc.WithSchema(record.Schema()), ipc.WithZstd())
	fw, err := ipc.NewFileWriter(&file, ipc.WithSchema(record.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Write(record), w.Close(), fw.Write(record), fw.Close()); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"stream": stream.Bytes(), "file": file.Bytes()} {
		got, err := show(input(name, data))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(batchShown, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		for cut := range len(data) {
			if _, err := show(input(name, data[:cut])); err != nil && !IsNotTable(err) {
				t.Fatalf("%s cut at %d: %v", name, cut, err)
			}
		}
	}
}

func TestParquet(t *testing.T) {
	record := batch(t)
	var data bytes.Buffer
	w, err := pqarrow.NewFileWriter(record.Schema(), &data, nil, pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Write(record), w.Close()); err != nil {
		t.Fatal(err)
	}
	got, err := show(input("p", data.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(batchShown, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for cut := 0; cut < data.Len(); cut += 7 {
		if _, err := show(input("p", data.Bytes()[:cut])); !IsNotTable(err) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
}

// The columns of an empty table are known.
func TestEmptyArrow(t *testing.T) {
	record := batch(t)
	var stream bytes.Buffer
	w := ipc.NewWriter(&stream, ipc.WithSchema(record.Schema()))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := show(input("s", stream.Bytes()))
	if err != nil || !strings.HasPrefix(got, "i8:int64 u64:") || strings.Contains(got, "\n") {
		t.Errorf("%q, %v", got, err)
	}
}

// A consumer's own panic is not taken for a broken file.
func TestConsumerPanics(t *testing.T) {
	record := batch(t)
	var stream bytes.Buffer
	w := ipc.NewWriter(&stream, ipc.WithSchema(record.Schema()))
	if err := errors.Join(w.Write(record), w.Close()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() != "mine" {
			t.Error("the panic is swallowed")
		}
	}()
	for range Read(input("s", stream.Bytes())) {
		panic("mine")
	}
}

func TestValueCell(t *testing.T) {
	number := func(text string) contracts.Value {
		v, err := contracts.NumberValue(text)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for want, v := range map[string]contracts.Value{
		"int64 -3":                    number("-3"),
		"uint64 18446744073709551615": number("18446744073709551615"),
		"utf8 123456789012345678901":  number("123456789012345678901"),
		"float64 100000.0":            number("1E5"),
		"utf8 x":                      contracts.StringValue("x"),
		"bool true":                   contracts.BoolValue(true),
	} {
		c := ValueCell(v)
		if got := c.Kind.Type().Arrow().Name() + " " + c.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := FormatFloat(math.Inf(-1)) + FormatFloat(math.NaN()) + FormatFloat(2) + FormatFloat(1e16); got != "-InfNaN2.01e+16" {
		t.Error(got)
	}
}

// Whatever the bytes: a table or none, and no panic.
func FuzzRead(f *testing.F) {
	f.Add([]byte("a,b\n1,x\n"))
	f.Add([]byte(`[{"a":1}]`))
	f.Add([]byte(`{"a":[1,null]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4 && (data[0] == 0xff || bytes.HasPrefix(data, []byte("ARROW1")) || bytes.HasPrefix(data, []byte("PAR1"))) {
			return // the libraries allocate what a header asks for
		}
		rows := -1
		for chunk, err := range Read(input("x", data)) {
			if err != nil {
				if !IsNotTable(err) {
					t.Error(err)
				}
				return
			}
			rows += chunk.Rows
			for _, column := range chunk.Columns {
				for row := range chunk.Rows {
					if c := column.At(row); c.Kind == 0 || c.Kind&(c.Kind-1) != 0 {
						t.Errorf("kind %b", c.Kind)
					}
				}
			}
		}
	})
}
