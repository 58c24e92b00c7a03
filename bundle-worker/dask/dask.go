// Package dask has the plugin by which a Dask worker runs this program's tasks: Python
// that travels to the cluster as text.
package dask

import _ "embed" // plugin.py

//go:embed plugin.py
var plugin string

// Plugin is the plugin's text.
func Plugin() string { return plugin }
