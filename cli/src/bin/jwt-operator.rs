//! The operator's tool: see [`jwt_generator::operator`].

use std::process::ExitCode;

use jwt_generator::exit::{hide_panic_payloads, keep_memory_private};
use jwt_generator::operator::{Ending, Shell, run};
use token_shell::{OsIds, ProcessVars, SystemClock};

fn main() -> ExitCode {
    hide_panic_payloads();
    keep_memory_private();
    // One thread does: nothing here computes beside anything else.
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Ending::TryAgain.into();
    };
    let mut shell = Shell {
        clock: &SystemClock,
        ids: &OsIds,
        vars: &ProcessVars,
        input: &mut std::io::stdin().lock(),
        out: &mut std::io::stdout().lock(),
        err: &mut std::io::stderr().lock(),
    };
    runtime.block_on(run(std::env::args_os(), &mut shell)).into()
}
