//! Compiles the proto files, in Rust: no protoc has to be on the machine.

#![expect(clippy::disallowed_methods, reason = "this is how a build script and cargo talk")]

use std::error::Error;
use std::path::Path;

use protox::prost::Message as _;

const FILES: [&str; 2] = ["auth/token/token_service.proto", "token/v1/token_service.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    // What the reflection service tells.
    let out = std::env::var_os("OUT_DIR").ok_or("expected OUT_DIR, which cargo sets")?;
    std::fs::write(Path::new(&out).join("token_descriptor.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
