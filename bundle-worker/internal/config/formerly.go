package config

import (
	"strconv"

	"github.com/modelops-suite/modelops-go/contracts"
)

// The variables that workers of the Python suite had beside those above. Images and
// manifests may set them still, and nothing that somebody set is ignored in silence.
const (
	executorAlias  = "MODELOPS_EXECUTOR"
	sourceVariable = "MODELOPS_BUNDLE_SOURCE"
	uploadVariable = "MODELOPS_UPLOAD_TO_AZURE"
)

// withoutMeaning are those that mean nothing here, and what there is instead.
func withoutMeaning() [][2]string {
	return [][2]string{
		{"MODELOPS_BUNDLES_DIR", "bundles come from a registry"},
		{"MODELOPS_AZURE_STORAGE_ACCOUNT", "set " + storageVariable + ", or mount an environment file"},
		{"MODELOPS_AZURE_CONTAINER", "results are in the environment's storage; the container of variables is " + containerVariable},
		{"MODELOPS_STORAGE_DIR", "results are in the environment's storage"},
		{"MODELOPS_DISABLE_PROVENANCE", "every result says what it is of"},
		{"MODELOPS_FORCE_FRESH_VENV", "an environment that failed, or was changed, is never used again; remove others: bundle-worker cache gc"},
		{"MODELOPS_INLINE_ARTIFACT_MAX_BYTES", "outputs over 512 KiB go to a file or the storage"},
		{"MODELOPS_MEM_LIMIT_BYTES", "set resources.memory in the study or the bundle's .modelops/manifest.json"},
		{"MODELOPS_VALIDATE_DEPS", "an environment is always tried before it is used"},
		{"MODELOPS_MAX_PROCESS_REUSE", "set " + tasksVariable},
		{"MODELOPS_PROCESS_TTL", "set " + minutesVariable},
		{"MODELOPS_LOG_LEVEL", "--quiet logs warnings only"},
	}
}

// formerly refuses what would have another effect than it had, and warns of what has none.
func (c *Config) formerly(getenv func(string) string) error {
	if source := getenv(sourceVariable); source != "" && source != "oci" {
		return &contracts.Error{
			Code: contracts.CodeUnsupported, Stage: contracts.StageEnvironment,
			Message: sourceVariable + "=" + contracts.Quote(source) + " is not supported: bundles come from a registry",
			Hint:    "unset it; a registry on this machine: mops infra up",
		}
	}
	if text := getenv(uploadVariable); text != "" {
		upload, err := strconv.ParseBool(text)
		switch {
		case err != nil:
			return wrong(uploadVariable, text, "is neither true nor false")
		case upload && c.Environment.Storage == nil:
			return &contracts.Error{
				Code: contracts.CodeUsage, Stage: contracts.StageEnvironment,
				Message: "upload_to_azure is enabled by " + uploadVariable + ", and the environment has no storage",
				Hint:    "set " + storageVariable + ", or mount an environment file that has storage and name it in " + envFileVariable,
			}
		}
	}
	for _, former := range withoutMeaning() {
		if getenv(former[0]) != "" {
			c.Ignored = append(c.Ignored, former[0]+" is set and has no effect: "+former[1])
		}
	}
	return nil
}
