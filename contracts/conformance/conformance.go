// Package conformance is what a third party runs on its own files: it says whether a
// document keeps the contract, with every problem.
//
// A program that writes environment files calls [CheckEnvironment] in its tests:
//
//	report := conformance.CheckEnvironment("dev.yaml", data)
//	if !report.Valid {
//		t.Errorf("%v", report.Errors)
//	}
//
// mops env validate FILE answers the same without any code.
package conformance

import (
	"errors"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Report is the verdict on one file. Errors are what every reader refuses; warnings
// are what a writer would want to mend. Neither list is ever nil.
type Report struct {
	Valid    bool                `json:"valid"`
	File     string              `json:"file"`
	Errors   []contracts.Problem `json:"errors"`
	Warnings []contracts.Problem `json:"warnings"`
}

// CheckEnvironment judges the content of an environment file. file is its name, for
// the report alone: nothing is opened.
func CheckEnvironment(file string, data []byte) Report {
	_, warnings, err := contracts.ParseEnvironment(file, data)
	report := Report{Valid: err == nil, File: file, Errors: []contracts.Problem{}, Warnings: []contracts.Problem{}}
	report.Warnings = append(report.Warnings, warnings...)
	if e, ok := errors.AsType[*contracts.Error](err); ok {
		report.Errors = append(report.Errors, e.Problems...)
	}
	return report
}
