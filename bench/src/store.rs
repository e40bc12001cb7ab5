//! Secrets Manager and SSM as moto serves them over TLS, holding the documents of a folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use token_aws::{AwsClients, ParameterKind};
use token_testkit::{Process, free_port, skipped, tool, wait_until};

const RING: &str = "jwt-issuer/ring";
const JWKS: &str = "/jwt-issuer/jwks";
const MAPPING: &str = "/jwt-issuer/mapping";
/// The same rules for the peers, who read no TOML.
const RULES: &str = "/jwt-issuer/rules";

/// A running server.
pub(crate) struct Store {
    _process: Process,
    port: u16,
    authority: PathBuf,
}

impl Store {
    /// A server for the documents in `folder`, or a message that something is missing.
    pub(crate) fn start(folder: &Path) -> Option<Self> {
        let (Some(moto), Some(openssl)) = (tool("moto_server"), tool("openssl")) else {
            skipped("moto (or openssl, which makes its certificate)");
            return None;
        };
        certificate(&openssl, folder);
        let port = free_port();
        let mut command = Command::new(moto);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        command.arg("-c").arg(folder.join("server.pem")).arg("-k").arg(folder.join("server.key"));
        let store = Self { _process: Process::start("moto", command), port, authority: folder.join("ca.pem") };
        wait_until("moto to answer", Duration::from_secs(60), || {
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        store.fill(folder);
        Some(store)
    }

    fn fill(&self, folder: &Path) {
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a document");
        let environment = self.aws();
        let get = |name: &str| environment.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
        let clients = AwsClients::from_vars(get).expect("AWS clients");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            clients.put_secret(RING, read("ring.json").as_bytes()).await.expect("moto takes the ring");
            for (name, file) in [(JWKS, "jwks.json"), (MAPPING, "mapping.toml"), (RULES, "rules.json")] {
                clients.put_parameter(name, &read(file), ParameterKind::Plain).await.expect("moto takes a parameter");
            }
        });
    }

    /// What a function's environment says of where its documents are.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let mut environment = self.aws();
        for (name, value) in [
            ("SIGNING_KEY_SECRET_ARN", RING),
            ("JWKS_SSM_PARAM", JWKS),
            ("MAPPING", &format!("ssm:{MAPPING}")),
            ("RULES", &format!("ssm:{RULES}")),
        ] {
            environment.push((name.to_owned(), value.to_owned()));
        }
        environment
    }

    fn aws(&self) -> Vec<(String, String)> {
        let authority = self.authority.display().to_string();
        [
            ("AWS_REGION", "eu-west-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "AKIABENCH".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "bench-secret-access-key".to_owned()),
            ("AWS_SESSION_TOKEN", "bench-session-token".to_owned()),
            ("AWS_ENDPOINT_URL", format!("https://127.0.0.1:{}", self.port)),
            ("AWS_CA_BUNDLE", authority.clone()),
            ("NODE_EXTRA_CA_CERTS", authority),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }
}

/// An authority of its own and a certificate for 127.0.0.1.
fn certificate(openssl: &Path, folder: &Path) {
    let extensions = "subjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n";
    std::fs::write(folder.join("server.ext"), extensions).expect("a writable folder");
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let steps: [Vec<&str>; 3] = [
        [
            &["req", "-x509"],
            &key[..],
            &["-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=bench authority"],
        ]
        .concat(),
        [&["req"], &key[..], &["-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1"]].concat(),
        [
            &[
                "x509",
                "-req",
                "-in",
                "server.csr",
                "-CA",
                "ca.pem",
                "-CAkey",
                "ca.key",
                "-CAcreateserial",
                "-days",
                "2",
            ][..],
            &["-extfile", "server.ext", "-out", "server.pem"],
        ]
        .concat(),
    ];
    for step in steps {
        let output = Command::new(openssl).args(&step).current_dir(folder).output().expect("openssl runs");
        assert!(output.status.success(), "openssl {step:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
