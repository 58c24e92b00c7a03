// Package contracts is the vocabulary of the ModelOps suite: the types, the
// parsers and the rules that the three programs, and anybody who writes or reads
// their files, agree on.
//
// It holds bundle references ([BundleRef]), the environment file
// ([BundleEnvironment]), a project's configuration ([ProjectConfig]), studies and
// the tasks they expand to ([SimulationStudy], [SimTask], [SimReturn]), parameter
// identifiers and seeds, and the one error envelope ([Error]).
//
// It parses bytes and never opens a file, reads a home directory or speaks to a
// network; whoever needs that finds it in the module modelops-bundle.
//
// # Compatibility
//
// Within one major version of this module, a document that a released version
// accepted stays accepted with the same meaning, param_id and derived seeds stay
// byte for byte, and error codes keep their exit codes. New optional fields and new
// error codes may appear.
package contracts
