// Verifies a token and prints its claims: go run ./verify ISSUER AUDIENCE TOKEN
//
// The issuer and the algorithms are fixed here, never taken from the token.
package main

import (
	"encoding/json"
	"log"
	"os"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
)

func main() {
	if len(os.Args) != 4 {
		log.Fatal("expected ISSUER AUDIENCE TOKEN")
	}
	issuer, audience := os.Args[1], os.Args[2]
	keys, err := keyfunc.NewDefault([]string{issuer + "/.well-known/jwks.json"})
	if err != nil {
		log.Fatal(err)
	}
	token, err := jwt.Parse(os.Args[3], keys.Keyfunc,
		jwt.WithValidMethods([]string{"RS256", "PS256", "ES256", "ES384", "EdDSA"}),
		jwt.WithIssuer(issuer), jwt.WithAudience(audience), jwt.WithExpirationRequired(), jwt.WithIssuedAt())
	if err != nil {
		log.Fatalf("refused: %v", err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(token.Claims); err != nil {
		log.Fatal(err)
	}
}
