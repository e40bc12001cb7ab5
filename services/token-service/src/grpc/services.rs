//! Both token services: each method takes its message apart, and puts the answer together.

use tonic::{Request, Response, Status, async_trait};

use super::Door;
use super::call::{Call, Method};
use super::pb::auth::common::Empty;
use super::pb::auth::token as former;
use super::pb::token::v1 as current;
use super::tokens::{Asked, Order, Pair};

/// `auth.token.TokenService`.
pub(super) struct Former(pub(super) Door);

/// `token.v1.TokenService`.
pub(super) struct Current(pub(super) Door);

const fn method(name: &'static str, path: &'static str) -> Method {
    Method { name, path }
}

#[async_trait]
impl former::token_service_server::TokenService for Former {
    async fn issue_token_pair(
        &self,
        request: Request<former::IssueTokenPairRequest>,
    ) -> Result<Response<former::TokenPairResponse>, Status> {
        let method = method("IssueTokenPair", "/auth.token.TokenService/IssueTokenPair");
        let (mut call, order) = Call::of(&self.0, method, request);
        let order = Order {
            user_id: order.user_id,
            session_id: order.session_id,
            scopes: order.scopes,
            custom_claims: order.custom_claims,
            access_token_ttl_seconds: order.access_token_ttl_seconds,
            refresh_token_ttl_seconds: order.refresh_token_ttl_seconds,
            audience: Vec::new(),
            dpop_proof: String::new(),
        };
        let outcome = self.0.generate(&mut call, order).await;
        call.finish(&self.0, outcome.map(former::TokenPairResponse::from), "issued")
    }

    async fn refresh_tokens(
        &self,
        request: Request<former::RefreshTokensRequest>,
    ) -> Result<Response<former::TokenPairResponse>, Status> {
        let method = method("RefreshTokens", "/auth.token.TokenService/RefreshTokens");
        let (mut call, asked) = Call::of(&self.0, method, request);
        let outcome = self.0.refreshed(&mut call, &asked.refresh_token, &asked.scopes, "").await;
        call.finish(&self.0, outcome.map(former::TokenPairResponse::from), "refreshed")
    }

    async fn revoke_token(
        &self,
        request: Request<former::RevokeTokenRequest>,
    ) -> Result<Response<former::RevokeTokenResponse>, Status> {
        let (mut call, asked) =
            Call::of(&self.0, method("RevokeToken", "/auth.token.TokenService/RevokeToken"), request);
        let outcome = self.0.revoke(&mut call, &asked.token).await;
        call.finish(&self.0, outcome.map(|()| former::RevokeTokenResponse { success: true }), "revoked")
    }

    async fn revoke_all_user_tokens(
        &self,
        request: Request<former::RevokeAllUserTokensRequest>,
    ) -> Result<Response<former::RevokeAllUserTokensResponse>, Status> {
        let method = method("RevokeAllUserTokens", "/auth.token.TokenService/RevokeAllUserTokens");
        let (mut call, asked) = Call::of(&self.0, method, request);
        let outcome = self.0.revoke_all(&mut call, &asked.user_id).await;
        call.finish(&self.0, outcome.map(|()| former::RevokeAllUserTokensResponse { success: true }), "revoked")
    }

    async fn get_jwks(&self, request: Request<Empty>) -> Result<Response<former::GetJwksResponse>, Status> {
        let (call, Empty {}) = Call::of(&self.0, method("GetJWKS", "/auth.token.TokenService/GetJWKS"), request);
        let outcome = self.0.jwks().await;
        call.finish(&self.0, outcome.map(|keys_json| former::GetJwksResponse { keys_json }), "published")
    }

    async fn rotate_signing_key(
        &self,
        request: Request<former::RotateSigningKeyRequest>,
    ) -> Result<Response<former::RotateSigningKeyResponse>, Status> {
        let method = method("RotateSigningKey", "/auth.token.TokenService/RotateSigningKey");
        let (mut call, asked) = Call::of(&self.0, method, request);
        let outcome = self.0.rotate(&mut call, &asked.key_id).await;
        let answer = |new_key_id| former::RotateSigningKeyResponse { success: true, new_key_id };
        call.finish(&self.0, outcome.map(answer), "rotated")
    }
}

#[async_trait]
impl current::token_service_server::TokenService for Current {
    async fn generate_tokens(
        &self,
        request: Request<current::GenerateTokensRequest>,
    ) -> Result<Response<current::GenerateTokensResponse>, Status> {
        let method = method("GenerateTokens", "/token.v1.TokenService/GenerateTokens");
        let (mut call, order) = Call::of(&self.0, method, request);
        let order = Order {
            user_id: order.user_id,
            session_id: order.session_id,
            scopes: order.scopes,
            custom_claims: order.custom_claims,
            access_token_ttl_seconds: order.access_token_ttl_seconds,
            refresh_token_ttl_seconds: order.refresh_token_ttl_seconds,
            audience: order.audience,
            dpop_proof: order.dpop_proof,
        };
        let outcome = self.0.generate(&mut call, order).await;
        call.finish(&self.0, outcome.map(current::GenerateTokensResponse::from), "issued")
    }

    async fn refresh_tokens(
        &self,
        request: Request<current::RefreshTokensRequest>,
    ) -> Result<Response<current::RefreshTokensResponse>, Status> {
        let method = method("RefreshTokens", "/token.v1.TokenService/RefreshTokens");
        let (mut call, asked) = Call::of(&self.0, method, request);
        let outcome = self.0.refreshed(&mut call, &asked.refresh_token, &asked.scopes, &asked.dpop_proof).await;
        call.finish(&self.0, outcome.map(current::RefreshTokensResponse::from), "refreshed")
    }

    async fn revoke_token(
        &self,
        request: Request<current::RevokeTokenRequest>,
    ) -> Result<Response<current::RevokeTokenResponse>, Status> {
        let (mut call, asked) = Call::of(&self.0, method("RevokeToken", "/token.v1.TokenService/RevokeToken"), request);
        let outcome = self.0.revoke(&mut call, &asked.token).await;
        call.finish(&self.0, outcome.map(|()| current::RevokeTokenResponse { success: true }), "revoked")
    }

    async fn revoke_all_user_tokens(
        &self,
        request: Request<current::RevokeAllUserTokensRequest>,
    ) -> Result<Response<current::RevokeAllUserTokensResponse>, Status> {
        let method = method("RevokeAllUserTokens", "/token.v1.TokenService/RevokeAllUserTokens");
        let (mut call, asked) = Call::of(&self.0, method, request);
        let outcome = self.0.revoke_all(&mut call, &asked.user_id).await;
        call.finish(&self.0, outcome.map(|()| current::RevokeAllUserTokensResponse { success: true }), "revoked")
    }

    async fn get_jwks(
        &self,
        request: Request<current::GetJwksRequest>,
    ) -> Result<Response<current::GetJwksResponse>, Status> {
        let (call, _) = Call::of(&self.0, method("GetJWKS", "/token.v1.TokenService/GetJWKS"), request);
        let outcome = self.0.jwks().await;
        call.finish(&self.0, outcome.map(|keys_json| current::GetJwksResponse { keys_json }), "published")
    }

    async fn rotate_signing_key(
        &self,
        request: Request<current::RotateSigningKeyRequest>,
    ) -> Result<Response<current::RotateSigningKeyResponse>, Status> {
        let method = method("RotateSigningKey", "/token.v1.TokenService/RotateSigningKey");
        let (mut call, asked) = Call::of(&self.0, method, request);
        let outcome = self.0.rotate(&mut call, &asked.key_id).await;
        let answer = |new_key_id| current::RotateSigningKeyResponse { success: true, new_key_id };
        call.finish(&self.0, outcome.map(answer), "rotated")
    }

    async fn validate_d_po_p(
        &self,
        request: Request<current::ValidateDPoPRequest>,
    ) -> Result<Response<current::ValidateDPoPResponse>, Status> {
        let method = method("ValidateDPoP", "/token.v1.TokenService/ValidateDPoP");
        let (mut call, asked) = Call::of(&self.0, method, request);
        let current::ValidateDPoPRequest { proof, method, uri, access_token, nonce } = asked;
        let asked = Asked { proof, method, uri, access_token, nonce };
        let outcome = self.0.validate(&mut call, &asked).await;
        let answer = outcome.map(|validated| match validated {
            Ok(thumbprint) => current::ValidateDPoPResponse { valid: true, thumbprint, error: String::new() },
            Err(error) => {
                current::ValidateDPoPResponse { valid: false, thumbprint: String::new(), error: error.to_owned() }
            }
        });
        call.finish(&self.0, answer, "validated")
    }
}

impl From<Pair> for former::TokenPairResponse {
    fn from(Pair { access_token, refresh_token, expires_at, token_type }: Pair) -> Self {
        Self { access_token, refresh_token, id_token: String::new(), expires_at, token_type }
    }
}

impl From<Pair> for current::GenerateTokensResponse {
    fn from(Pair { access_token, refresh_token, expires_at, token_type }: Pair) -> Self {
        Self { access_token, refresh_token, id_token: String::new(), expires_at, token_type }
    }
}

impl From<Pair> for current::RefreshTokensResponse {
    fn from(Pair { access_token, refresh_token, expires_at, token_type }: Pair) -> Self {
        Self { access_token, refresh_token, id_token: String::new(), expires_at, token_type }
    }
}
