package wire

import (
	"encoding/json"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
)

// failure is what the harness says about an error of the model's.
type failure struct {
	Kind      string `json:"kind"` // import, model, output, exit or wire_missing
	Type      string `json:"type"` // the exception's class
	Message   string `json:"message"`
	Traceback string `json:"traceback"`
	Missing   string `json:"missing"` // the module that was not found
}

// explain makes an error for people of it.
func (f failure) explain() *contracts.Error {
	e := &contracts.Error{Stage: contracts.StageRun, Type: f.Type, Message: f.Message, Traceback: f.Traceback}
	switch f.Kind {
	case "import":
		e.Code, e.Stage = contracts.CodeImport, contracts.StageImport
		if module, _, _ := strings.Cut(f.Missing, "."); module != "" {
			e.Hint = "add what provides " + contracts.Quote(module) + " to the bundle: its distribution to [project].dependencies in pyproject.toml or to requirements.txt, or the file itself; then push again"
		}
	case "output":
		e.Code = contracts.CodeOutput
		e.Hint = "a wire answers a dictionary of names to bytes"
	case "exit":
		e.Code = contracts.CodeExit
		e.Message += " instead of answering"
	case "wire_missing":
		e.Code, e.Stage = contracts.CodeWireMissing, contracts.StageImport
		e.Hint = "the wire is a function wire(entrypoint, params, seed) that answers {name: bytes}"
	default:
		e.Code = contracts.CodeModel
	}
	return e
}

// parseFailure reads the data of an error that the harness answered.
func parseFailure(data json.RawMessage, message string) *contracts.Error {
	var f failure
	if err := json.Unmarshal(data, &f); err != nil || f.Message == "" {
		return &contracts.Error{Code: contracts.CodeProtocol, Stage: contracts.StageRun, Message: "the simulation's process answered the error " + contracts.Quote(message)}
	}
	return f.explain()
}

// brokenProtocol is a process that did not keep to the protocol.
func brokenProtocol(problem string) *contracts.Error {
	return &contracts.Error{
		Code: contracts.CodeProtocol, Stage: contracts.StageRun,
		Message: "the simulation's process broke the protocol: " + contracts.Quote(problem),
		Hint:    "the model writes to, or closes, descriptors that are not its own",
	}
}
