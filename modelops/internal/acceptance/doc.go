// Package acceptance holds the programs together, as people use them: the built binaries,
// real registries, real clients, real simulations. It has tests only.
//
// MODELOPS_TEST_BIN and MODELOPS_TEST_PEERS name directories with the programs and with
// oras and crane, as `make test` builds them; without, the tests build both. Debian's
// docker-registry is used where it is installed, and must be in CI.
package acceptance
