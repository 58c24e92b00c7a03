package s3

// OpenGoogle opens Google's storage at another address.
var OpenGoogle = openGoogle
