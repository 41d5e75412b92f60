// Tells whether a request comes from taskqueue: SIGNING_SECRET=whsec_… go run verify.go ID TIMESTAMP SIGNATURE < body
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

const tolerance = 300 // seconds

// genuine takes the body as it came, and not decoded and encoded again.
func genuine(secret, id, timestamp, signatures string, body []byte) bool {
	at, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || math.Abs(float64(time.Now().Unix()-at)) > tolerance {
		return false
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	expected := []byte("v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	// Several, while the secret is changed.
	for _, given := range strings.Fields(signatures) {
		if hmac.Equal([]byte(given), expected) {
			return true
		}
	}
	return false
}

func main() {
	body, err := io.ReadAll(os.Stdin)
	if err != nil || !genuine(os.Getenv("SIGNING_SECRET"), os.Args[1], os.Args[2], os.Args[3], body) {
		os.Exit(1)
	}
}
