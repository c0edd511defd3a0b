package private

// OpenToPeek is what Peek opens a file with once it has checked the type.
var OpenToPeek = openToPeek
