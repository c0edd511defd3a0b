package cookiejar

// ParseDate is what reads an Expires attribute.
var ParseDate = parseDate
