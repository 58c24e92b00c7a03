// Package harness is the program in Python that calls a bundle's wire, and starts
// interpreters with it. Package wire speaks to them.
//
// The interpreter of exec's first task is started while most of this program is still to be
// initialised, see [Ahead]. So this package imports only what is initialised early: little of
// the standard library, and packages that keep to the same.
package harness
