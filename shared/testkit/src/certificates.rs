//! Certificates for servers of tests.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::tools::{skipped, tool};

/// A CA of two days, and a certificate of its for 127.0.0.1; all in a folder of its own.
#[derive(Debug)]
pub struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// Makes them, or says that the test is skipped.
    ///
    /// # Panics
    /// When openssl is on this machine and cannot.
    #[must_use]
    pub fn make() -> Option<Self> {
        let Some(openssl) = tool("openssl") else {
            skipped("openssl");
            return None;
        };
        let certificates = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        std::fs::write(certificates.path("extensions"), "subjectAltName=IP:127.0.0.1\n").expect("a file");
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        for arguments in [
            format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=testkit-ca -days 2"),
            format!("req {key} -keyout leaf.key -out leaf.csr -subj /CN=testkit"),
            "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out leaf.pem"
                .to_owned(),
        ] {
            let mut command = Command::new(&openssl);
            command.args(arguments.split(' ')).current_dir(certificates.folder.path());
            let output = command.output().expect("openssl runs");
            assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Some(certificates)
    }

    /// The file `name`: `ca.pem`, `leaf.pem` and `leaf.key` are there.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The content of the file `name`.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("one of the files")
    }
}
