package example;

import com.nimbusds.jose.util.JSONObjectUtils;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider;
import software.amazon.awssdk.http.ContentStreamProvider;
import software.amazon.awssdk.http.SdkHttpMethod;
import software.amazon.awssdk.http.SdkHttpRequest;
import software.amazon.awssdk.http.auth.aws.signer.AwsV4HttpSigner;

/**
 * Gets a token with the AWS credentials at hand: GetToken URL [REGION]
 *
 * <p>URL is the issuer's, as in https://issuer.example; credentials come from wherever the AWS SDK finds them. Prints the token.
 */
public final class GetToken {
  public static void main(String[] arguments) throws Exception {
    var endpoint = URI.create(arguments[0] + "/token");
    var region = arguments.length > 1 ? arguments[1] : "eu-west-1";
    var body = "{\"expires_in\":600}";

    var unsigned = SdkHttpRequest.builder().method(SdkHttpMethod.POST).uri(endpoint).putHeader("Content-Type", "application/json").build();
    try (var credentials = DefaultCredentialsProvider.builder().build()) {
      var signed = AwsV4HttpSigner.create().sign(sign -> sign
          .identity(credentials.resolveCredentials())
          .request(unsigned)
          .payload(ContentStreamProvider.fromUtf8String(body))
          .putProperty(AwsV4HttpSigner.SERVICE_SIGNING_NAME, "execute-api")
          .putProperty(AwsV4HttpSigner.REGION_NAME, region));

      var request = HttpRequest.newBuilder(endpoint).timeout(Duration.ofSeconds(30)).POST(HttpRequest.BodyPublishers.ofString(body));
      signed.request().forEachHeader((name, values) -> {
        // The JDK's client sets these two itself, to the same.
        if (!name.equalsIgnoreCase("Host") && !name.equalsIgnoreCase("Content-Length")) {
          values.forEach(value -> request.header(name, value));
        }
      });
      var response = HttpClient.newHttpClient().send(request.build(), HttpResponse.BodyHandlers.ofString());
      if (response.statusCode() != 200) {
        System.err.println("no token: HTTP " + response.statusCode() + " " + response.body());
        System.exit(1);
      }
      System.out.println(JSONObjectUtils.parse(response.body()).get("access_token"));
    }
  }

  private GetToken() {}
}
