//! The `jwt-issuer` Lambda: wiring only. See the library for what it does.

use std::process::ExitCode;
use std::sync::Arc;

use jwt_issuer::{App, Config};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::value::RawValue;
use token_shell::{OsIds, Problems, ProcessVars, SystemClock, start_json_log};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let app = match start().await {
        Ok(app) => Arc::new(app),
        Err(problems) => return lambda_common::fail_init(&ProcessVars, &problems).await,
    };
    let served = lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let app = Arc::clone(&app);
        async move {
            let trace_id = event.context.xray_trace_id;
            Ok::<_, Error>(app.handle(event.payload.get().as_bytes(), trace_id.as_deref()).await)
        }
    }))
    .await;
    lambda_common::ended(served)
}

async fn start() -> Result<App, Problems> {
    let mut problems = Problems::default();
    let config = Config::read(&ProcessVars, &mut problems);
    start_json_log(config.log_level);
    App::start(config, problems, Box::new(SystemClock), Box::new(OsIds), Box::new(std::io::stdout())).await
}
