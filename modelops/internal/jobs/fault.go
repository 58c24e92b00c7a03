package jobs

import (
	"regexp"

	"github.com/modelops-suite/modelops-go/contracts"
)

var digits = regexp.MustCompile(`[0-9][0-9a-fA-F.]*`)

// Signature is equal for failures that are alike: that differ in nothing but numbers.
func Signature(e *contracts.Error) string {
	return string(e.Code) + "\x00" + e.Type + "\x00" + digits.ReplaceAllString(e.Message, "#")
}
