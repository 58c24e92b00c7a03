//go:build unix

package runner

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Environ is the environment of a task's process: of the worker's own variables the few
// below, and what the suite sets. Nothing else passes, and so no credential does.
//
// cores is how many threads numerical libraries may use; with one, results do not depend
// on how many cores the machine has.
func Environ(own []string, cores int, set map[string]string) []string {
	environ := map[string]string{"PATH": "/usr/local/bin:/usr/bin:/bin"}
	threads := strconv.Itoa(max(1, cores))
	for _, name := range threadCounts() {
		environ[name] = threads
	}
	for _, variable := range own {
		if name, value, ok := strings.Cut(variable, "="); ok && passes(name) {
			environ[name] = value
		}
	}
	maps.Copy(environ, map[string]string{
		"PYTHONDONTWRITEBYTECODE": "1", // the bundle is read-only, and nothing shared is written
		"PYTHONHASHSEED":          "0", // or the order of a set would differ from run to run
		"PYTHONNOUSERSITE":        "1",
		"PYTHONUNBUFFERED":        "1", // what was printed before a crash is there after it
		"PYTHONFAULTHANDLER":      "1", // a crash in native code shows the Python lines
		"PYTHONUTF8":              "1",
	})
	maps.Copy(environ, set)
	list := make([]string, 0, len(environ))
	for _, name := range slices.Sorted(maps.Keys(environ)) {
		list = append(list, name+"="+environ[name])
	}
	return list
}

func threadCounts() []string {
	return []string{"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"}
}

// passes says whether a variable of the worker's reaches user code.
func passes(name string) bool {
	switch name {
	case "PATH", "LANG", "LANGUAGE", "TZ",
		"LD_LIBRARY_PATH",                                        // where an image keeps its libraries
		"R_LIBS", "R_LIBS_SITE", "JULIA_DEPOT_PATH", "JAVA_HOME": // and those of other languages
		return true
	}
	return strings.HasPrefix(name, "LC_") || slices.Contains(threadCounts(), name)
}
