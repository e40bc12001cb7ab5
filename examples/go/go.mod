module example.com/jwt-issuer-example

go 1.24

require (
	github.com/MicahParks/keyfunc/v3 v3.3.10
	github.com/aws/aws-sdk-go-v2/config v1.33.15
	github.com/golang-jwt/jwt/v5 v5.2.2
)
