// Gets a token with the AWS credentials at hand: go run ./get-token URL [REGION]
//
// URL is the issuer's, as in https://issuer.example; credentials come from wherever the AWS SDK finds them. Prints the token.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
)

func token(ctx context.Context, url, region string) (string, error) {
	settings, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return "", err
	}
	credentials, err := settings.Credentials.Retrieve(ctx)
	if err != nil {
		return "", err
	}

	body := `{"expires_in":600}`
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/token", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	hash := sha256.Sum256([]byte(body))
	err = v4.NewSigner().SignHTTP(ctx, credentials, request, hex.EncodeToString(hash[:]), "execute-api", region, time.Now())
	if err != nil {
		return "", err
	}

	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("HTTP %d %s", response.StatusCode, answer)
	}
	var issued struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(answer, &issued); err != nil {
		return "", err
	}
	return issued.AccessToken, nil
}

func main() {
	if len(os.Args) < 2 {
		log.Fatal("expected the URL of an issuer")
	}
	region := "eu-west-1"
	if len(os.Args) > 2 {
		region = os.Args[2]
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	issued, err := token(ctx, os.Args[1], region)
	if err != nil {
		log.Fatalf("no token: %v", err)
	}
	fmt.Println(issued)
}
