//! `grpc.health.v1`: what readiness says, for the server and for each of its services.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use token_server::Readiness;
use tonic::{Request, Response, Status, async_trait};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_server};

/// The names that may be asked for; the empty one is the server itself.
const SERVICES: [&str; 4] =
    ["", "auth.token.TokenService", "token.v1.TokenService", "envoy.service.auth.v3.Authorization"];
/// How often a watched state is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The service.
pub(super) struct Health {
    readiness: Readiness,
}

impl Health {
    pub(super) fn new(readiness: Readiness) -> Self {
        Self { readiness }
    }
}

async fn state(readiness: &Readiness) -> ServingStatus {
    if readiness.report().await.ready { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn answer(state: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: state.into() }
}

#[async_trait]
impl health_server::Health for Health {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        if !SERVICES.contains(&request.get_ref().service.as_str()) {
            return Err(Status::not_found("expected a service of this server, found another"));
        }
        Ok(Response::new(answer(state(&self.readiness).await)))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// The state now, and again whenever it changes. An unknown service is told as such, and the stream stays open, as the
    /// protocol has it.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        if !SERVICES.contains(&request.get_ref().service.as_str()) {
            let unknown = stream::once(async { Ok(answer(ServingStatus::ServiceUnknown)) });
            return Ok(Response::new(Box::pin(unknown.chain(stream::pending()))));
        }
        let changes = stream::unfold((self.readiness.clone(), None), |(readiness, told)| async move {
            loop {
                let found = state(&readiness).await;
                if told != Some(found) {
                    return Some((Ok(answer(found)), (readiness, Some(found))));
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        Ok(Response::new(Box::pin(changes)))
    }
}
