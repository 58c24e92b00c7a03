package contracts

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// Error is the one error envelope, from the simulation's process to the terminal.
// Whatever first goes wrong is put into one, and nothing on the way replaces it.
//
// As JSON it is the value of the key "error". Error.Error is the message alone.
type Error struct {
	Code       Code      `json:"code"`
	Stage      Stage     `json:"stage,omitempty"`
	Type       string    `json:"type,omitempty"` // the exception's class, for errors of user code
	Message    string    `json:"message"`
	Traceback  string    `json:"traceback,omitempty"`
	StderrTail string    `json:"stderr_tail,omitempty"` // at most 64 KiB
	Hint       string    `json:"hint,omitempty"`
	Retryable  bool      `json:"retryable,omitempty"` // the same call may succeed later
	Problems   []Problem `json:"problems,omitempty"`  // every fault of a document, when it was a document

	cause error
}

// Problem is one fault of a document.
type Problem struct {
	Field   string `json:"field,omitempty"` // as in "registry.login_server"; empty for the document itself
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Error is the message.
func (e *Error) Error() string { return e.Message }

// Unwrap is the error that this one explains, if any.
func (e *Error) Unwrap() error { return e.cause }

// Because returns e with its cause set, for errors.Is and errors.As.
func (e *Error) Because(cause error) *Error {
	e.cause = cause
	return e
}

// ExitCode is the exit code that goes with the error's code.
func (e *Error) ExitCode() int { return e.Code.ExitCode() }

// AsError is err as an envelope: the one it wraps, or a new one with
// [CodeInternal]. It is nil for nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return (&Error{Code: CodeInternal, Message: err.Error()}).Because(err)
}

// Envelope is an error document as the programs print it with --json.
type Envelope struct {
	Error *Error `json:"error"`
}

// MarshalEnvelope is {"error": …} and a newline.
func MarshalEnvelope(err error) []byte {
	data, marshalErr := json.Marshal(Envelope{AsError(err)})
	if marshalErr != nil { // an Error holds only strings and a bool
		panic(marshalErr)
	}
	return append(data, '\n')
}

// Code says what kind of thing went wrong. The list is closed: programs may branch on
// it. [Codes] has the list with its meanings.
type Code string

// Stage says in which step of the flow it went wrong.
type Stage string

// The codes. [Codes] documents each.
const (
	CodeUsage               Code = "usage"
	CodeInvalidName         Code = "invalid_name"
	CodeInvalidReference    Code = "invalid_reference"
	CodeInvalidEnvironment  Code = "invalid_environment"
	CodeInvalidConfig       Code = "invalid_configuration"
	CodeInvalidProject      Code = "invalid_project"
	CodeInvalidStudy        Code = "invalid_study"
	CodeInvalidBundle       Code = "invalid_bundle"
	CodeUnsupported         Code = "unsupported"
	CodeFailed              Code = "failed"
	CodeInternal            Code = "internal"
	CodeEnvironmentNotFound Code = "environment_not_found"
	CodeProjectNotFound     Code = "project_not_found"
	CodeBundleNotFound      Code = "bundle_not_found"
	CodeNotFound            Code = "not_found"
	CodeUnauthenticated     Code = "unauthenticated"
	CodeDenied              Code = "denied"
	CodeConflict            Code = "conflict"
	CodeEnvironmentMismatch Code = "environment_mismatch"
	CodeIntegrity           Code = "integrity"
	CodeUnavailable         Code = "unavailable"
	CodeInterrupted         Code = "interrupted"

	// Codes of tasks: what a simulation's process did.
	CodeWireMissing      Code = "wire_missing"
	CodeImport           Code = "import_error"
	CodeModel            Code = "model_error"
	CodeOutput           Code = "output_error"
	CodeDependencies     Code = "dependency_error"
	CodeExit             Code = "process_exit"
	CodeSignal           Code = "process_signal"
	CodeOutOfMemory      Code = "out_of_memory"
	CodeTimeout          Code = "timeout"
	CodeProtocol         Code = "protocol_error"
	CodeCancelled        Code = "cancelled"
	CodeWorkerStopped    Code = "worker_stopped"
	CodeTasksFailed      Code = "tasks_failed"
	CodeDiskFull         Code = "disk_full"
	CodeContractMismatch Code = "contract_mismatch"
)

// The stages, in the order of the flow.
const (
	StageCommand     Stage = "command"     // reading the command line
	StageEnvironment Stage = "environment" // finding and reading the environment file
	StageProvision   Stage = "provision"   // making or removing infrastructure
	StageProject     Stage = "project"     // reading or writing the project
	StagePack        Stage = "pack"        // reading files into a bundle
	StagePush        Stage = "push"
	StageResolve     Stage = "resolve" // a reference to a digest
	StagePull        Stage = "pull"    // bytes to a directory
	StageStudy       Stage = "study"
	StageSubmit      Stage = "submit"
	StagePrepare     Stage = "prepare" // the interpreter and the bundle's dependencies
	StageImport      Stage = "import"  // loading the bundle's code
	StageRun         Stage = "run"     // inside the model
	StageStore       Stage = "store"   // making outputs durable
	StageCollect     Stage = "collect" // tables and reports
)

// CodeInfo documents a code.
type CodeInfo struct {
	Code    Code
	Exit    int
	Meaning string
}

// Codes is the closed list of codes. docs/exit-codes.md is written from it.
func Codes() []CodeInfo {
	return []CodeInfo{
		{CodeUsage, 2, "the command line is wrong"},
		{CodeInvalidName, 2, "a project, environment or tag name is not valid"},
		{CodeInvalidReference, 2, "a bundle reference or digest is not valid"},
		{CodeInvalidEnvironment, 1, "the environment file is broken"},
		{CodeInvalidConfig, 1, "the configuration, modelops.yaml, is broken"},
		{CodeInvalidProject, 1, "the project's configuration is broken"},
		{CodeInvalidStudy, 1, "the study is broken"},
		{CodeInvalidBundle, 1, "the files cannot be a bundle, or the bundle's manifest or index breaks the format"},
		{CodeUnsupported, 1, "valid, and not supported by this version"},
		{CodeFailed, 1, "the step did not succeed; the message says why"},
		{CodeInternal, 1, "a fault of the program itself"},
		{CodeEnvironmentNotFound, 3, "there is no environment of that name"},
		{CodeProjectNotFound, 3, "not inside a project"},
		{CodeBundleNotFound, 3, "the registry has no such bundle"},
		{CodeNotFound, 3, "something else that was named does not exist"},
		{CodeUnauthenticated, 4, "the credentials are missing, wrong or expired"},
		{CodeDenied, 4, "the credentials are good and do not permit this"},
		{CodeConflict, 5, "somebody else changed it first, or local changes would be lost"},
		{CodeEnvironmentMismatch, 5, "the project and the command name different environments"},
		{CodeIntegrity, 6, "bytes do not have the digest they were asked for by"},
		{CodeUnavailable, 7, "the network, the registry, the storage or the scheduler does not answer"},
		{CodeInterrupted, 130, "stopped by the user"},
		{CodeWireMissing, 1, "the bundle does not say how its simulation is called"},
		{CodeImport, 1, "the bundle's code could not be loaded"},
		{CodeModel, 1, "the model raised an exception"},
		{CodeOutput, 1, "the model answered something that is not a set of outputs, or an empty table that carries an error; or a target no finite loss"},
		{CodeDependencies, 1, "the bundle's dependencies could not be installed"},
		{CodeExit, 1, "the simulation's process ended with a code other than 0"},
		{CodeSignal, 1, "the simulation's process was killed by a signal"},
		{CodeOutOfMemory, 1, "the simulation's process was killed for its memory"},
		{CodeTimeout, 1, "the time limit passed"},
		{CodeProtocol, 1, "a task or a result is malformed, or the simulation's process broke the protocol"},
		{CodeCancelled, 1, "the job was cancelled"},
		{CodeWorkerStopped, 1, "the worker was shut down while the task ran"},
		{CodeTasksFailed, 1, "a job ended with failed tasks"},
		{CodeDiskFull, 1, "no space is left on a disk"},
		{CodeContractMismatch, 1, "two programs of the suite speak different versions of the contract"},
	}
}

// ExitCode is the exit code of the programs for this code; 1 for a code of a newer
// version.
func (c Code) ExitCode() int {
	for _, info := range Codes() {
		if info.Code == c {
			return info.Exit
		}
	}
	return 1
}

// Quote is s for a message: quoted, every control and look-alike character escaped,
// and cut to a line's length. Everything that came from outside is printed through it.
func Quote(s string) string {
	return quoteASCII(shorten(s))
}

// Lines is text for a terminal: line ends and tabs stay, every other control
// character is escaped. For tracebacks and the tails of logs.
func Lines(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n' || r == '\t':
			b.WriteRune(r)
		case isPrintable(r):
			b.WriteRune(r)
		default:
			quoted := quoteASCII(string(r))
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// Except is nil for nil and for an error with one of the accepted codes, and err
// otherwise: for callers to whom, say, an absence is an answer.
func Except(err error, accepted ...Code) error {
	if err == nil || slices.Contains(accepted, AsError(err).Code) {
		return nil
	}
	return err
}
