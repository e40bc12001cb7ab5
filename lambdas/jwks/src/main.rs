//! The `jwks` Lambda: wiring only. See the library for what it does.

use std::process::ExitCode;
use std::sync::Arc;

use jwks::{App, Config};
use lambda_http::{Error, Request, service_fn};
use token_shell::{Problems, ProcessVars, SystemClock, start_json_log};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let app = match start().await {
        Ok(app) => Arc::new(app),
        Err(problems) => return lambda_common::fail_init(&ProcessVars, &problems).await,
    };
    let served = lambda_http::run(service_fn(move |request: Request| {
        let app = Arc::clone(&app);
        async move { Ok::<_, Error>(app.handle(&request).await) }
    }))
    .await;
    lambda_common::ended(served)
}

async fn start() -> Result<App, Problems> {
    let mut problems = Problems::default();
    let config = Config::read(&ProcessVars, &mut problems);
    start_json_log(config.log_level);
    App::start(config, problems, Box::new(SystemClock), Box::new(std::io::stdout())).await
}
