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
// cores is how many threads the task's libraries may use, whatever the worker's own
// variables say. With 0 nobody stated it: then these pass, and the rest is one thread, so
// that results do not depend on how many cores the machine has.
func Environ(own []string, cores int, set map[string]string) []string {
	environ := map[string]string{"PATH": "/usr/local/bin:/usr/bin:/bin"}
	threads := strconv.Itoa(max(1, cores))
	for _, name := range threadCounts() {
		environ[name] = threads
	}
	for _, variable := range own {
		name, value, ok := strings.Cut(variable, "=")
		if ok && (passes(name) || cores == 0 && slices.Contains(threadCounts(), name)) {
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

// threadCounts are the variables that libraries take their number of threads from. Each
// of these would use as many as the machine has cores: sums then come out in another order
// elsewhere, and as many tasks as there are cores would use the square of that in threads.
func threadCounts() []string {
	return []string{
		"OMP_NUM_THREADS",                                                                 // OpenMP: also PyTorch, scikit-learn, Arrow, data.table
		"MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "BLIS_NUM_THREADS", // linear algebra
		"VECLIB_MAXIMUM_THREADS",                   // that of macOS
		"NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS", // expressions and compiled loops in Python
		"POLARS_MAX_THREADS", "RAYON_NUM_THREADS", // data frames, and whatever is written in Rust
		"TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", // TensorFlow
		"PYTHON_CPU_COUNT", "LOKY_MAX_CPU_COUNT", // pools of processes: Python 3.13's, joblib's
		"JULIA_NUM_THREADS", "MC_CORES", // Julia; mclapply and its kin in R
	}
}

// passes says whether a variable of the worker's reaches user code.
func passes(name string) bool {
	switch name {
	case "PATH", "LANG", "LANGUAGE", "TZ",
		"LD_LIBRARY_PATH",                                        // where an image keeps its libraries
		"R_LIBS", "R_LIBS_SITE", "JULIA_DEPOT_PATH", "JAVA_HOME": // and those of other languages
		return true
	}
	return strings.HasPrefix(name, "LC_")
}
