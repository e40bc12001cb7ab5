//! The `withdraw` Lambda: wiring only. See the library for what it does.

use std::process::ExitCode;
use std::sync::Arc;

use key_rotation::{Config, WithdrawApp};
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::value::RawValue;
use token_shell::{OsIds, Problems, ProcessVars, SystemClock, start_json_log};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut problems = Problems::default();
    let config = Config::read(&ProcessVars, &mut problems);
    start_json_log(config.log_level);
    let (clock, ids) = (Box::new(SystemClock), Box::new(OsIds));
    let app = match WithdrawApp::new(config, problems, clock, ids, Box::new(std::io::stdout())) {
        Ok(app) => Arc::new(app),
        Err(problems) => return lambda_common::fail_init(&ProcessVars, &problems).await,
    };
    let served = lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let app = Arc::clone(&app);
        async move { app.handle(event.payload.get().as_bytes(), event.context.deadline).await }
    }))
    .await;
    lambda_common::ended(served)
}
