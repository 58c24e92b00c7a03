// Package jobscript runs mops jobs as people do: the built programs, the local
// environment, real simulations. It has tests only.
//
// MODELOPS_TEST_BIN names a directory with the programs; without it the tests build them.
package jobscript
