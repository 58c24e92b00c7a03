package acrauth

import "github.com/modelops-suite/modelops-go/modelops-bundle/azurecredential"

// Default is the identity that the process's surroundings give it; see
// [azurecredential.For]. Nothing is looked for until a token is needed.
func Default() *Identity { return &Identity{credential: azurecredential.For} }
