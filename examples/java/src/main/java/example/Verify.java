package example;

import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.jwk.source.JWKSourceBuilder;
import com.nimbusds.jose.proc.BadJOSEException;
import com.nimbusds.jose.proc.JWSVerificationKeySelector;
import com.nimbusds.jose.proc.SecurityContext;
import com.nimbusds.jwt.JWTClaimsSet;
import com.nimbusds.jwt.proc.DefaultJWTClaimsVerifier;
import com.nimbusds.jwt.proc.DefaultJWTProcessor;
import java.net.URI;
import java.util.Set;

/**
 * Verifies a token and prints its claims: Verify ISSUER AUDIENCE TOKEN
 *
 * <p>The issuer and the algorithms are fixed here, never taken from the token. EdDSA would need a further library.
 */
public final class Verify {
  public static void main(String[] arguments) throws Exception {
    String issuer = arguments[0], audience = arguments[1];
    var keys = JWKSourceBuilder.<SecurityContext>create(URI.create(issuer + "/.well-known/jwks.json").toURL()).build();
    var processor = new DefaultJWTProcessor<SecurityContext>();
    processor.setJWSKeySelector(new JWSVerificationKeySelector<>(
        Set.of(JWSAlgorithm.RS256, JWSAlgorithm.PS256, JWSAlgorithm.ES256, JWSAlgorithm.ES384), keys));
    processor.setJWTClaimsSetVerifier(new DefaultJWTClaimsVerifier<>(
        audience, new JWTClaimsSet.Builder().issuer(issuer).build(), Set.of("sub", "exp", "iat", "nbf", "jti")));
    try {
      System.out.println(processor.process(arguments[2], null));
    } catch (BadJOSEException refusal) {
      System.err.println("refused: " + refusal.getMessage());
      System.exit(1);
    }
  }

  private Verify() {}
}
