//! Tokens of the real gateway log in with the real Snowflake connector, at a stand-in of Snowflake's login that is set up by
//! the SQL of docs/SNOWFLAKE.md and judges them as Snowflake documents it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::local::principal;
use e2e::{ORGANIZATION, Signed, answer, now, rest_event};
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;
use token_claims::{CompileOptions, SubjectMapping};
use token_jose::{Algorithm, KeyRing, sign_compact};
use token_testkit::{
    Curl, Gateway, GatewayOptions, Lambda, Process, binaries, skipped, tool, wait_until, workspace_root,
};

const DOCUMENTED_ISSUER: &str = "https://issuer.example.com";
const ALICE: &str = "111122223333/sso";

/// Python with PyJWT and the connector; without it, says that the test is skipped.
fn python() -> Option<PathBuf> {
    let found = tool("python3").filter(|python| {
        let import = Command::new(python).args(["-W", "ignore", "-c", "import jwt, snowflake.connector"]).output();
        import.is_ok_and(|run| run.status.success())
    });
    if found.is_none() {
        skipped("snowflake-connector-python");
    }
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(workspace_root().join(path)).unwrap()
}

/// What stands in the fence after this marker of docs/SNOWFLAKE.md.
fn documented(marker: &str) -> String {
    let page = read("docs/SNOWFLAKE.md");
    let after = page.split(&format!("<!-- {marker} -->\n```")).nth(1).unwrap_or_else(|| panic!("no {marker}"));
    after.split_once('\n').unwrap().1.split("```").next().unwrap().to_owned()
}

/// The documented set-up for this issuer.
fn documented_sql(issuer: &str) -> String {
    let sql = documented("snowflake");
    assert_eq!(sql.matches(DOCUMENTED_ISSUER).count(), 2, "issuer and keys URL: {sql}");
    sql.replace(DOCUMENTED_ISSUER, issuer)
}

/// The stand-in, set up by some SQL.
struct Snowflake {
    process: Process,
    python: PathBuf,
    port: u16,
    _folder: TempDir,
}

impl Snowflake {
    fn start(python: &Path, sql: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("setup.sql");
        fs::write(&file, sql).unwrap();
        let mut command = Command::new(python);
        command.arg(workspace_root().join("tests/snowflake/login_endpoint.py")).arg("acme").arg(file);
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        let mut process = Process::start("login_endpoint.py", command);
        let line = wait_until("the stand-in's line", Duration::from_secs(60), || {
            let line = process.stdout().split_once('\n').map(|(line, _)| line.to_owned());
            assert!(line.is_some() || process.ended().is_none(), "{}", process.output());
            line
        });
        let ready: Value = serde_json::from_str(&line).unwrap();
        let port = ready["port"].as_u64().unwrap().try_into().unwrap();
        Self { process, python: python.to_owned(), port, _folder: folder }
    }

    fn get(&self, path: &str) -> Value {
        Curl::get(&format!("http://127.0.0.1:{}{path}", self.port)).send().json()
    }

    /// How often it has fetched key sets.
    fn fetches(&self) -> u64 {
        self.get("/fetches").as_u64().unwrap()
    }

    fn connect(&self, token: &str, user: &str, role: &str) -> Value {
        let script = workspace_root().join("tests/snowflake/connect.py");
        let port = self.port.to_string();
        let shown = run(Command::new(&self.python).args(["-W", "ignore"]).arg(script).args([&port, user, role]), token);
        serde_json::from_str(&shown).unwrap_or_else(|error| panic!("{error}: {shown}\n{}", self.process.output()))
    }

    /// User and role of the session.
    fn log_in(&self, token: &str, role: &str) -> (String, String) {
        let session = self.connect(token, "", role);
        let text = |name: &str| session[name].as_str().unwrap_or_else(|| panic!("{session}")).to_owned();
        (text("user"), text("role"))
    }

    /// What the client sees, and the detail that only an administrator gets for the UUID in it.
    fn refusal_of(&self, token: &str, user: &str, role: &str) -> (String, String) {
        let session = self.connect(token, user, role);
        let message = session["refused"].as_str().unwrap_or_else(|| panic!("logged in: {session}")).to_owned();
        let reference = message.split(['[', ']']).nth(1).unwrap_or_else(|| panic!("no UUID: {message}"));
        let detail = self.get(&format!("/failures/{reference}"))["errorCode"].as_str().unwrap().to_owned();
        assert!(!message.contains(token) && !message.contains(&detail), "{message}");
        (message, detail)
    }

    fn refusal(&self, token: &str, role: &str) -> String {
        self.refusal_of(token, "", role).1
    }
}

/// What a command prints that gets `input`.
fn run(command: &mut Command, input: &str) -> String {
    command.envs([("NO_PROXY", "*"), ("no_proxy", "*"), ("PYTHONDONTWRITEBYTECODE", "1")]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The documented mapping and what the refusals need: another account, a blocked role, roles that are not granted.
fn mapping(scope_claim: &str) -> String {
    let documented = read("docs/config/snowflake-sso.toml");
    let analysts = "scopes = [\"session:role:ANALYST\"]\n";
    assert_eq!(documented.matches(analysts).count(), 1);
    let audiences = r#"audiences = ["https://acme.snowflakecomputing.com", "https://other.snowflakecomputing.com"]"#;
    let more = [("admin", "ACCOUNTADMIN"), ("mixed", "ANALYST\", \"session:role:ETL")].map(|(name, role)| {
        format!(
            "[[rule]]\nname = \"{name}\"\nprincipal = {{ kind = \"assumed-role\", accounts = [\"111122223333\"], role = \"{name}\" }}\n\
             subject = \"svc:{name}\"\nscopes = [\"session:role:{role}\"]\n"
        )
    });
    let other = "[audience.\"https://other.snowflakecomputing.com\"]\nprofile = \"snowflake-external-oauth\"\n";
    let text = documented.replace(analysts, &format!("{analysts}{audiences}\n"));
    format!("{text}scope_claim = \"{scope_claim}\"\n{other}\n{}", more.join("\n"))
}

/// A gateway with the callers of these tests: [`ALICE`], and roles by their names.
fn gateway(mapping: &str) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    let (mapping_file, principals) = (folder.path().join("mapping.toml"), folder.path().join("principals.json"));
    fs::write(&mapping_file, mapping).unwrap();
    let sso = principal(0, "AWSReservedSSO_Analyst_0123456789abcdef", "alice@example.com", &json!({"name": ALICE}));
    let roles = ["etl-nightly", "etl-stranger", "admin", "mixed"];
    let roles = roles.iter().zip(1..).map(|(role, number)| principal(number, role, "run-1", &json!({"name": role})));
    fs::write(&principals, Value::from_iter(std::iter::once(sso).chain(roles)).to_string()).unwrap();
    // The issuer reads the mapping at its start, which this waits for, and again only after five minutes.
    Gateway::start(&GatewayOptions {
        mapping: Some(mapping_file),
        principals: Some(principals),
        ..GatewayOptions::default()
    })
}

/// A token for the caller of that name.
fn token(gateway: &Gateway, caller: &str, body: &Value) -> String {
    let principal = gateway.principals().iter().find(|principal| principal.name == caller).unwrap();
    let reply = gateway.token_request(principal).json(body).send();
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["access_token"].as_str().unwrap().to_owned()
}

/// A file of a gateway that has its documents in files.
fn document(gateway: &Gateway, name: &str) -> PathBuf {
    let port = gateway.url().rsplit(':').next().unwrap();
    binaries().parent().unwrap().join("local-gateway").join(port).join(name)
}

/// Claims as the issuer would never write them, with a signature of its real key.
fn signed(ring: &KeyRing, typ: &str, claims: &Value) -> String {
    let key = ring.active(Algorithm::Rs256, now()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let claims = claims.to_string();
    runtime.block_on(sign_compact(&**key.signer().unwrap(), typ, claims.as_bytes())).unwrap().into_string()
}

#[test]
fn people_and_workloads_log_in_with_the_documented_set_up() {
    let Some(python) = python() else { return };
    let gateway = gateway(&read("docs/config/snowflake-sso.toml"));
    let snowflake = Snowflake::start(&python, &documented_sql(gateway.issuer()));

    let alice = token(&gateway, ALICE, &json!({}));
    let session = |user: &str, role: &str| (user.to_owned(), role.to_owned());
    assert_eq!(snowflake.log_in(&alice, "ANALYST"), session("ALICE", "ANALYST"));
    assert_eq!(snowflake.log_in(&alice, "analyst"), session("ALICE", "ANALYST"), "roles ignore case");
    assert_eq!(snowflake.log_in(&alice, ""), session("ALICE", "ANALYST"), "the user's default role");
    let etl = token(&gateway, "etl-nightly", &json!({"expires_in": 60}));
    assert_eq!(snowflake.log_in(&etl, "ETL"), session("ETL_NIGHTLY", "ETL"));
    assert_eq!(snowflake.connect(&alice, "alice", "ANALYST"), json!({"user": "ALICE", "role": "ANALYST"}));
    assert_eq!(snowflake.fetches(), 1, "one copy of the key set serves them all");

    // The documented Python, as a reader runs it.
    let folder = tempfile::tempdir().unwrap();
    let (account, here) =
        ("account=\"acme\", ", format!("host=\"127.0.0.1\", port={}, protocol=\"http\", ", snowflake.port));
    let lines = documented("file: connect.py");
    assert!(lines.contains(account), "{lines}");
    fs::write(folder.path().join("connect.py"), lines.replace(account, &format!("{account}{here}"))).unwrap();
    std::os::unix::fs::symlink(workspace_root().join("examples"), folder.path().join("examples")).unwrap();
    let workload = gateway.principals().iter().find(|principal| principal.name == "etl-nightly").unwrap();
    let tools = format!("{}:/usr/local/bin:/usr/bin:/bin", python.parent().unwrap().display());
    let line = documented("run: connect").replace(DOCUMENTED_ISSUER, gateway.url());
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("set -euo pipefail\n{line}")]).current_dir(folder.path()).env("PATH", tools);
    shell.env("AWS_ACCESS_KEY_ID", &workload.access_key_id);
    shell.env("AWS_SECRET_ACCESS_KEY", &workload.secret_access_key).env_remove("AWS_SESSION_TOKEN");
    assert_eq!(run(&mut shell, "").trim(), "('ETL_NIGHTLY', 'ETL')");
}

#[test]
fn what_the_issuer_grants_wrongly_for_this_account_is_refused() {
    let Some(python) = python() else { return };
    let (ours, other) = (gateway(&mapping("scp")), gateway(&mapping("scp")));
    let users = "CREATE USER admin LOGIN_NAME = 'svc:admin'; GRANT ROLE ACCOUNTADMIN TO USER admin;\n\
                 CREATE USER mixed LOGIN_NAME = 'svc:MIXED' DEFAULT_ROLE = ETL; GRANT ROLE ANALYST TO USER mixed;";
    let snowflake = Snowflake::start(&python, &format!("{}{users}", documented_sql(ours.issuer())));
    let alice = token(&ours, ALICE, &json!({}));
    assert_eq!(snowflake.log_in(&alice, "ANALYST").0, "ALICE");

    let elsewhere = token(&ours, ALICE, &json!({"audience": "https://other.snowflakecomputing.com"}));
    assert_eq!(snowflake.refusal(&elsewhere, "ANALYST"), "EXTERNAL_OAUTH_AUDIENCE_VALIDATION_FAILED");
    let foreign = token(&other, ALICE, &json!({}));
    assert_eq!(snowflake.refusal(&foreign, "ANALYST"), "EXTERNAL_OAUTH_ACCESS_TOKEN_ISSUER_NOT_FOUND");

    // A right token for somebody whom Snowflake does not know, and for another user than the connection says.
    let stranger = token(&ours, "etl-stranger", &json!({}));
    assert_eq!(snowflake.refusal(&stranger, "ETL"), "UNDOCUMENTED_NO_USER_OF_THIS_LOGIN_NAME");
    let (message, detail) = snowflake.refusal_of(&alice, "ETL_NIGHTLY", "ANALYST");
    assert!(message.contains("Invalid OAuth access token. [") && message.contains("390303"), "{message}");
    assert_eq!(detail, "UNDOCUMENTED_OTHER_USER_THAN_THE_TOKENS");

    // Roles: in the token and granted, but blocked; granted, but not in the token; in the token, but not granted.
    let admin = token(&ours, "admin", &json!({}));
    for (token, role, wanted) in
        [(&admin, "ACCOUNTADMIN", "ACCOUNTADMIN"), (&alice, "ETL", "ETL"), (&admin, "", "PUBLIC")]
    {
        let (message, detail) = snowflake.refusal_of(token, "", role);
        assert_eq!(detail, "UNDOCUMENTED_ROLE_NOT_LISTED_OR_FILTERED", "{role}");
        assert!(
            message.contains(&format!("('{wanted}'), is not listed in the Access Token or was filtered")),
            "{message}"
        );
    }
    let mixed = token(&ours, "mixed", &json!({}));
    assert_eq!(snowflake.log_in(&mixed, "ANALYST").0, "MIXED", "login names ignore case");
    assert_eq!(snowflake.refusal(&mixed, "ETL"), "UNDOCUMENTED_ROLE_NOT_GRANTED");
    let less = token(&ours, "mixed", &json!({"scope": "session:role:ETL"}));
    assert_eq!(snowflake.refusal(&less, "ANALYST"), "UNDOCUMENTED_ROLE_NOT_LISTED_OR_FILTERED");
}

#[test]
fn what_the_issuer_never_writes_is_refused_by_its_documented_name() {
    let Some(python) = python() else { return };
    let gateway = gateway(&mapping("scp"));
    let sql = documented_sql(gateway.issuer());
    let snowflake = Snowflake::start(&python, &sql);
    let ring = KeyRing::parse(&fs::read(document(&gateway, "ring.json")).unwrap()).unwrap();
    let at = now().as_second();
    let claims = |changes: Value| {
        let mut claims = json!({"iss": gateway.issuer(), "sub": "ALICE", "aud": "https://acme.snowflakecomputing.com", "iat": at,
            "nbf": at, "exp": at + 600, "jti": "1", "scp": ["session:role:ANALYST"]});
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        claims
    };
    assert_eq!(
        snowflake.log_in(&signed(&ring, "JWT", &claims(json!({}))), "ANALYST").0,
        "ALICE",
        "the key is the real one"
    );

    for (changes, detail) in [
        (json!({"exp": at - 1, "iat": at - 600, "nbf": at - 600}), "EXTERNAL_OAUTH_ACCESS_TOKEN_EXPIRED"),
        (json!({"nbf": at + 300}), "EXTERNAL_OAUTH_ACCESS_TOKEN_NOT_YET_VALID"),
        (json!({"iat": at + 300}), "EXTERNAL_OAUTH_ACCESS_TOKEN_NOT_YET_VALID"),
        (json!({"iat": null}), "EXTERNAL_OAUTH_JWS_INVALID_FORMAT"),
        (json!({"iss": null}), "EXTERNAL_OAUTH_MISSING_ISSUER"),
        (json!({"iss": format!("{}/", gateway.issuer())}), "EXTERNAL_OAUTH_ACCESS_TOKEN_ISSUER_NOT_FOUND"),
        (json!({"aud": null}), "EXTERNAL_OAUTH_MISSING_AUDIENCE"),
        (json!({"aud": "https://ACME.snowflakecomputing.com"}), "EXTERNAL_OAUTH_AUDIENCE_VALIDATION_FAILED"),
        (json!({"aud": "https://acme.snowflakecomputing.com/"}), "EXTERNAL_OAUTH_AUDIENCE_VALIDATION_FAILED"),
        (json!({"sub": null}), "EXTERNAL_OAUTH_USER_CLAIM_MISSING"),
        (json!({"scp": null}), "UNDOCUMENTED_ROLE_NOT_LISTED_OR_FILTERED"),
        (json!({"scp": ["session:role-any"]}), "UNDOCUMENTED_ROLE_NOT_LISTED_OR_FILTERED"),
    ] {
        let token = signed(&ring, "JWT", &claims(changes.clone()));
        assert_eq!(snowflake.refusal(&token, "ANALYST"), detail, "{changes}");
    }
    let expired = signed(&ring, "JWT", &claims(json!({"exp": at - 1, "iat": at - 600, "nbf": at - 600})));
    assert!(snowflake.refusal_of(&expired, "", "").0.contains("390318"), "the number that is documented for it");

    let typ = signed(&ring, "at+jwt", &claims(json!({})));
    assert_eq!(snowflake.refusal(&typ, "ANALYST"), "EXTERNAL_OAUTH_JWS_INVALID_TYPE");
    let good = signed(&ring, "JWT", &claims(json!({})));
    let (content, signature) = good.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{content}.{other}{}", &signature[1..]);
    assert_eq!(snowflake.refusal(&forged, "ANALYST"), "EXTERNAL_OAUTH_INVALID_SIGNATURE");
    assert_eq!(snowflake.refusal("{\"access_token\": 1}", "ANALYST"), "EXTERNAL_OAUTH_JWS_INVALID_FORMAT");
    let own = KeyRing::first(&[Algorithm::Rs256], *ring.policy(), now()).unwrap();
    let unknown = signed(&own, "JWT", &claims(json!({})));
    assert_eq!(snowflake.refusal(&unknown, "ANALYST"), "EXTERNAL_OAUTH_JWS_CANT_RETRIEVE_PUBLIC_KEY");

    // The integration's own switches.
    let set = |parameter: &str| {
        Snowflake::start(&python, &format!("{sql}ALTER SECURITY INTEGRATION JWT_ISSUER SET {parameter};"))
    };
    let off = set("ENABLED = FALSE");
    assert_eq!(off.refusal(&good, "ANALYST"), "EXTERNAL_OAUTH_ACCESS_TOKEN_ISSUER_NOT_ENABLED");
    let nowhere = set("EXTERNAL_OAUTH_JWS_KEYS_URL = 'http://127.0.0.1:1/jwks.json'");
    assert_eq!(nowhere.refusal(&good, "ANALYST"), "EXTERNAL_OAUTH_JWS_CANT_RETRIEVE_PUBLIC_KEY");
    for narrowed in ["EXTERNAL_OAUTH_ALLOWED_ROLES_LIST = ('ETL')", "EXTERNAL_OAUTH_BLOCKED_ROLES_LIST = ('ANALYST')"] {
        assert_eq!(set(narrowed).refusal(&good, "ANALYST"), "UNDOCUMENTED_ROLE_NOT_LISTED_OR_FILTERED", "{narrowed}");
    }
    let any = set("EXTERNAL_OAUTH_ANY_ROLE_MODE = 'ENABLE'");
    let anything = signed(&ring, "JWT", &claims(json!({"scp": ["session:role-any"]})));
    assert_eq!(any.log_in(&anything, "ANALYST").1, "ANALYST");
    assert_eq!(any.refusal(&anything, "ETL"), "UNDOCUMENTED_ROLE_NOT_GRANTED");
    assert_eq!(any.refusal(&anything, "SECURITYADMIN"), "UNDOCUMENTED_ROLE_NOT_LISTED_OR_FILTERED");
}

#[test]
fn the_comma_separated_scope_works_with_the_integration_set_so() {
    let Some(python) = python() else { return };
    let gateway = gateway(&mapping("scope"));
    let sql = documented_sql(gateway.issuer());
    let users =
        "CREATE USER mixed LOGIN_NAME = 'svc:mixed'; GRANT ROLE ANALYST TO USER mixed; GRANT ROLE ETL TO USER mixed;";
    let set = "ALTER SECURITY INTEGRATION JWT_ISSUER SET EXTERNAL_OAUTH_SCOPE_MAPPING_ATTRIBUTE = 'scope';";
    let both = token(&gateway, "mixed", &json!({}));

    let right = Snowflake::start(&python, &format!("{sql}{users}{set}"));
    for role in ["ANALYST", "ETL"] {
        assert_eq!(right.log_in(&both, role), ("MIXED".to_owned(), role.to_owned()));
    }
    let wrong = Snowflake::start(&python, &format!("{sql}{users}"));
    assert_eq!(wrong.refusal(&both, "ETL"), "UNDOCUMENTED_ROLE_NOT_LISTED_OR_FILTERED", "it reads scp");
}

/// The stand-in keeps its copy for an hour and never asks again for an unknown kid: only what has long been public logs in.
#[test]
fn a_promoted_standby_logs_in_from_a_key_set_fetched_before() {
    let Some(python) = python() else { return };
    let gateway = gateway(&read("docs/config/snowflake-sso.toml"));
    let snowflake = Snowflake::start(&python, &documented_sql(gateway.issuer()));
    let before = token(&gateway, "etl-nightly", &json!({}));
    assert_eq!(snowflake.log_in(&before, "ETL").0, "ETL_NIGHTLY");
    assert_eq!(snowflake.fetches(), 1);

    // The ring as a rotation leaves it, at the time from which the standby signs.
    let mut ring: Value = serde_json::from_slice(&fs::read(document(&gateway, "ring.json")).unwrap()).unwrap();
    let standby = ring["keys"].as_array_mut().unwrap().iter_mut().find(|key| key["signs_from"].is_null()).unwrap();
    let kid = standby["kid"].clone();
    standby["signs_from"] = json!(Timestamp::from_second(now().as_second()).unwrap().to_string());
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ring.json"), ring.to_string()).unwrap();
    let file = |path: &Path| format!("file:{}", path.display());
    let issuer = Lambda::start(
        "jwt-issuer",
        [
            ("JWT_ISSUER_URL", gateway.issuer().to_owned()),
            ("KEY_RING", file(&folder.path().join("ring.json"))),
            ("JWKS", file(&document(&gateway, "jwks.json"))),
            ("MAPPING", file(&workspace_root().join("docs/config/snowflake-sso.toml"))),
            ("ORGANIZATION_ID", ORGANIZATION.to_owned()),
            ("SSO_PATH_ENFORCED", "true".to_owned()),
        ],
    );
    let (status, body) = answer(&issuer.respond(&rest_event(&Signed::session("etl-nightly", "run-2"))));
    assert_eq!(status, 200, "{body}");
    let after = body["access_token"].as_str().unwrap();
    let header = String::from_utf8(run(Command::new(&python).args(["-c", HEADER]), after).into_bytes()).unwrap();
    assert_eq!(header.trim(), kid.as_str().unwrap(), "the promoted key signed");

    for token in [after, before.as_str()] {
        assert_eq!(snowflake.log_in(token, "ETL"), ("ETL_NIGHTLY".to_owned(), "ETL".to_owned()));
    }
    assert_eq!(snowflake.fetches(), 1, "the copy from before the rotation verifies old and new");
}

const HEADER: &str = "import jwt, sys; print(jwt.get_unverified_header(sys.stdin.read())['kid'])";

/// Snowflake would take `bob` and `BOB` for one login name; a relying party that counts case would not.
#[test]
fn login_names_that_differ_in_case_alone_do_not_load() {
    let rule = |name: &str, subject: &str| {
        format!(
            "[[rule]]\nname = \"{name}\"\nprincipal = {{ kind = \"assumed-role\", accounts = [\"111122223333\"], role = \"{name}\" }}\n\
             subject = \"{subject}\"\nscopes = [\"session:role:ANALYST\"]\n"
        )
    };
    let compiled = |profile: &str, audience: &str| {
        let rules = rule("reader", "bob") + &rule("writer", "BOB");
        let text = format!(
            "[defaults]\naudience = \"{audience}\"\n\n{rules}\n[audience.\"{audience}\"]\nprofile = \"{profile}\"\n"
        );
        let problems = SubjectMapping::compile(&text, &CompileOptions::default()).err();
        problems.map_or_else(String::new, |problems| problems.to_string())
    };
    let problems = compiled("snowflake-external-oauth", "https://acme.snowflakecomputing.com");
    let folded = "found \"bob\" and \"BOB\", which a relying party that ignores case takes for one";
    assert!(problems.contains(folded), "{problems}");
    assert_eq!(compiled("generic", "https://orders.example"), "");
}

/// README, infrastructure and the page say the same, and the stand-in reads no more than they may say.
#[test]
fn the_documented_statements_are_one() {
    let sql = documented("snowflake");
    let create = sql.split_inclusive(';').next().unwrap();
    assert!(read("README.md").contains(create), "README.md has another statement than\n{create}");

    let names = |text: &str| -> Vec<String> {
        let named = text.lines().map(|line| line.trim().trim_start_matches('"').trim_start());
        let named = named.filter(|line| line.starts_with("EXTERNAL_OAUTH_"));
        named.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    let infrastructure = read("infrastructure/snowflake.tf");
    assert_eq!(names(create), names(&infrastructure), "docs/SNOWFLAKE.md, infrastructure/snowflake.tf");
    let module = read("infrastructure/modules/snowflake_oauth/main.tf").to_uppercase();
    let sorted = |names: Vec<String>| names.into_iter().collect::<BTreeSet<_>>();
    assert_eq!(
        sorted(names(create)),
        sorted(names(&module)),
        "docs/SNOWFLAKE.md, infrastructure/modules/snowflake_oauth"
    );
    for line in create.lines().filter(|line| !line.contains("issuer.example.com") && !line.contains("acme")) {
        let fixed = line.trim_end_matches(';').split('\'').next().unwrap().replace("JWT_ISSUER", "");
        assert!(infrastructure.contains(fixed.trim()), "infrastructure/snowflake.tf has no {fixed}");
    }

    let Some(python) = python() else { return };
    let refused = |sql: &str| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("setup.sql");
        fs::write(&file, sql).unwrap();
        let mut command = Command::new(&python);
        command.arg(workspace_root().join("tests/snowflake/login_endpoint.py")).arg("acme").arg(file);
        let output = command.env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap().lines().last().unwrap().to_owned()
    };
    for (from, to, why) in [
        ("https://issuer.example.com/.well", "http://issuer.example.com/.well", "to begin https://"),
        ("EXTERNAL_OAUTH_ISSUER =", "EXTERNAL_OAUTH_ISSUERS =", "EXTERNAL_OAUTH_ISSUER"),
        ("ENABLED = TRUE", "ENABLED = YES", "ENABLED"),
        ("'scp'", "'roles'", "scp or scope"),
        ("= 'ALICE'", "= '111122223333/etl-nightly'", "a login name of its own"),
    ] {
        assert!(sql.contains(from), "{from}");
        let said = refused(&sql.replace(from, to));
        assert!(said.contains("BadSql") && said.contains(why), "{to}: {said}");
    }
}
