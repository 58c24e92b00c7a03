package contracts

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
)

// InlineCap is the size in bytes up to which an output travels inside a result.
const InlineCap = 524288

// Artifact is one output of a task. Its bytes are either inline or at a reference;
// the checksum is of the bytes wherever they are.
type Artifact struct {
	ContentType string // media type
	Size        int64  // bytes
	Inline      []byte // present when Ref is empty, even if it has no bytes
	Ref         string // "file:<checksum>" for a file of that name beside the result
	Checksum    string // BLAKE2b-256, 64 hexadecimal digits
}

// NewArtifact is data as an inline artifact.
func NewArtifact(contentType string, data []byte) Artifact {
	if data == nil {
		data = []byte{}
	}
	return Artifact{ContentType: contentType, Size: int64(len(data)), Inline: data, Checksum: blake2b256(data)}
}

// artifactDocument is an artifact's JSON. encoding/json cannot tell an empty inline
// from an absent one.
type artifactDocument struct {
	ContentType string  `json:"content_type"`
	Size        int64   `json:"size"`
	Inline      *string `json:"inline,omitempty"` // base64
	Ref         string  `json:"ref,omitempty"`
	Checksum    string  `json:"checksum"`
}

// MarshalJSON writes inline, even if it is empty, exactly when there is no reference.
func (a Artifact) MarshalJSON() ([]byte, error) {
	doc := artifactDocument{ContentType: a.ContentType, Size: a.Size, Ref: a.Ref, Checksum: a.Checksum}
	if a.Ref == "" {
		inline := base64.StdEncoding.EncodeToString(a.Inline)
		doc.Inline = &inline
	}
	return json.Marshal(doc)
}

// UnmarshalJSON reads an artifact and checks it as [ParseReturn] does.
func (a *Artifact) UnmarshalJSON(data []byte) error {
	v, problem := parseJSON(data)
	if problem != nil {
		return documentError(CodeProtocol, StageStore, "artifact", "", []Problem{*problem})
	}
	problems := &problemList{}
	if m := readMapping(v, "", problems); m != nil {
		*a = readArtifact(m, "")
	}
	return problems.err(CodeProtocol, StageStore, "artifact", "")
}

// Validate checks an artifact as it is stored: exactly one of inline and reference,
// inline at most [InlineCap] bytes, and size and checksum those of the bytes. The
// error is an [Error] with [CodeProtocol].
func (a Artifact) Validate() error {
	problems := &problemList{}
	a.check("", problems)
	if len(a.Inline) > InlineCap {
		problems.add("inline", "has "+strconv.Itoa(len(a.Inline))+" bytes", "more than "+strconv.Itoa(InlineCap)+" bytes go to a file")
	}
	return problems.err(CodeProtocol, StageStore, "artifact", "")
}

func (a Artifact) check(field string, problems *problemList) {
	if a.ContentType == "" {
		problems.add(join(field, "content_type"), "is missing", "")
	}
	if !isHash(a.Checksum) {
		problems.add(join(field, "checksum"), "is "+Quote(a.Checksum), "it is BLAKE2b-256 as 64 lower-case hexadecimal digits")
	}
	switch {
	case a.Size < 0:
		problems.add(join(field, "size"), "is negative", "")
	case a.Ref != "" && a.Inline != nil:
		problems.add(field, "has both inline and ref", "it has one of the two")
	case a.Ref != "":
		if strings.TrimSpace(a.Ref) == "" || controlCharacter(a.Ref) != "" {
			problems.add(join(field, "ref"), "is blank or has control characters", "")
		}
	case a.Inline == nil:
		problems.add(field, "has neither inline nor ref", "it has one of the two")
	case int64(len(a.Inline)) != a.Size:
		problems.add(join(field, "size"), "is "+strconv.FormatInt(a.Size, 10)+"; inline has "+strconv.Itoa(len(a.Inline))+" bytes", "")
	case blake2b256(a.Inline) != a.Checksum:
		problems.add(join(field, "checksum"), "is not that of inline", "the bytes were changed on the way")
	}
}

// isHash says whether s is 64 lower-case hexadecimal digits.
func isHash(s string) bool { return isDigest(digestPrefix + s) }

// SimReturn is what became of a task: its outputs, or what its target said, or its error.
// As JSON it is what a worker writes.
type SimReturn struct {
	TaskID            string              `json:"task_id"` // [SimTask.Key]
	Outputs           map[string]Artifact `json:"outputs"`
	Evaluation        *Evaluation         `json:"evaluation,omitempty"` // of the evaluation of a target
	Error             *Error              `json:"error,omitempty"`
	Bundle            string              `json:"bundle,omitempty"` // the reference it ran from
	ContentDigest     Digest              `json:"content_digest,omitempty"`
	EnvironmentDigest string              `json:"environment_digest,omitempty"` // [EnvironmentRecord.Digest]
	Environment       *EnvironmentRecord  `json:"environment,omitempty"`
	Seconds           float64             `json:"seconds"` // in the simulation
	StderrTail        string              `json:"stderr_tail,omitempty"`
	Cached            bool                `json:"cached,omitempty"`
}

// ParseReturn reads a result and checks every inline output against its checksum.
// Inline outputs may be larger than [InlineCap]: a worker that was given no directory
// has nowhere else to put them. A result without outputs or evaluation must have an error. Unknown
// keys are ignored. The error is an [Error] with [CodeProtocol] and every problem.
func ParseReturn(data []byte) (*SimReturn, error) {
	v, problem := parseJSON(data)
	if problem != nil {
		return nil, documentError(CodeProtocol, StageRun, "result", "", []Problem{*problem})
	}
	problems := &problemList{}
	result := readReturn(v, problems)
	if err := problems.err(CodeProtocol, StageRun, "result", ""); err != nil {
		return nil, err
	}
	return result, nil
}

// UnmarshalJSON reads as [ParseReturn] does.
func (r *SimReturn) UnmarshalJSON(data []byte) error {
	result, err := ParseReturn(data)
	if err != nil {
		return err
	}
	*r = *result
	return nil
}

func readReturn(v Value, problems *problemList) *SimReturn {
	m := readMapping(v, "", problems)
	if m == nil {
		return nil
	}
	m.require("", "task_id")
	r := &SimReturn{
		TaskID:            m.text("task_id"),
		Outputs:           readOutputs(m),
		Bundle:            m.text("bundle"),
		EnvironmentDigest: m.text("environment_digest"),
		Seconds:           m.number("seconds"),
		StderrTail:        m.rawText("stderr_tail"),
		Cached:            m.flag("cached"),
	}
	if digest := m.text("content_digest"); digest != "" {
		if !isDigest(digest) {
			problems.add("content_digest", "is "+Quote(digest)+", not a digest", "a digest is sha256: and 64 lower-case hexadecimal digits")
		}
		r.ContentDigest = Digest(digest)
	}
	if r.TaskID != "" && !isHash(r.TaskID) {
		problems.add("task_id", "is "+Quote(r.TaskID)+", not a task key", "64 lower-case hexadecimal digits")
	}
	if r.EnvironmentDigest != "" && !isHash(r.EnvironmentDigest) {
		problems.add("environment_digest", "is "+Quote(r.EnvironmentDigest), "64 lower-case hexadecimal digits")
	}
	if evaluation := m.sub("evaluation"); evaluation != nil {
		r.Evaluation = readEvaluation(evaluation)
	}
	if envelope := m.sub("error"); envelope != nil {
		r.Error = readError(envelope)
	}
	if record := m.sub("environment"); record != nil {
		r.Environment = readRecord(record)
	}
	if r.Error == nil && r.Evaluation == nil && len(r.Outputs) == 0 {
		problems.add("outputs", "is empty, and there is no error", "a result has outputs, an evaluation or an error")
	}
	return r
}

func readArtifact(m *mapping, field string) Artifact {
	m.require("", "size", "checksum")
	a := Artifact{
		ContentType: m.text("content_type"),
		Size:        m.integer("size", 0, 0),
		Ref:         m.text("ref"),
		Checksum:    m.text("checksum"),
	}
	if v, there := m.get("inline"); there {
		data, err := base64.StdEncoding.DecodeString(v.text)
		if v.kind != KindString || err != nil {
			m.problems.add(m.field+"inline", "is not base64", "encode the bytes with padding")
		}
		a.Inline = data
		if a.Inline == nil {
			a.Inline = []byte{}
		}
	}
	if !m.problems.has(m.field + "inline") {
		a.check(field, m.problems)
	}
	return a
}

func readError(m *mapping) *Error {
	m.require("", "code", "message")
	e := &Error{
		Code:       Code(m.text("code")),
		Stage:      Stage(m.text("stage")),
		Type:       m.rawText("type"),
		Message:    m.rawText("message"),
		Traceback:  m.rawText("traceback"),
		StderrTail: m.rawText("stderr_tail"),
		Hint:       m.rawText("hint"),
		Retryable:  m.flag("retryable"),
	}
	if v, there := m.get("problems"); there && v.kind == KindList {
		for i, item := range v.Items() {
			if sub := readMapping(item, m.field+"problems."+strconv.Itoa(i), m.problems); sub != nil {
				e.Problems = append(e.Problems, Problem{Field: sub.rawText("field"), Message: sub.rawText("message"), Hint: sub.rawText("hint")})
			}
		}
	}
	return e
}

// rawText reads a string that may hold anything, as a traceback does.
func (m *mapping) rawText(key string) string {
	v, there := m.get(key)
	if there && v.kind != KindString {
		m.problems.add(m.field+key, "is "+v.kind.String()+", not a string", "write text")
		return ""
	}
	return v.text
}

func (m *mapping) number(key string) float64 {
	v, there := m.get(key)
	if !there {
		return 0
	}
	f, ok := v.Float64()
	if !ok {
		m.problems.add(m.field+key, "is "+v.kind.String()+", not a number", "write a number")
	}
	return f
}
