//! The init container and the sidecar.

use jwt_generator::exit::{Exit, hide_panic_payloads, keep_memory_private};

fn main() -> Exit {
    hide_panic_payloads();
    keep_memory_private();
    jwt_generator::generator::run(std::env::args_os())
}
