//! Keys in files: the promises of the stores, crashes, and the subcommands.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jwt_generator::operator::{FilePublished, FileSecret};
use serde_json::{Value, json};
use tempfile::TempDir;
use token_issuance::rotation::{CURRENT, Moved, PENDING, PREVIOUS, PublishedStore, SecretVersions};
use token_jose::{KeyRing, KeySet};
use token_shell::OsIds;
use token_testkit::conformance::{self, PublishedFixture, SecretFixture};

use super::{json, now, run, text};

struct InFile {
    secret: FileSecret,
    _folder: TempDir,
}

#[async_trait]
impl SecretFixture for InFile {
    fn secret(&self) -> &dyn SecretVersions {
        &self.secret
    }

    async fn start_rotation(&mut self, version: &str) {
        let state = self.secret.describe().await.unwrap();
        let begun = self.secret.start_rotation(version, state.with_stage(CURRENT)).await.unwrap();
        assert_eq!(begun.as_deref(), Some(version));
    }
}

struct SetInFile {
    store: FilePublished,
    _folder: TempDir,
}

#[async_trait]
impl PublishedFixture for SetInFile {
    fn store(&self) -> &dyn PublishedStore {
        &self.store
    }

    async fn stall(&mut self) -> Option<Duration> {
        None
    }
}

fn secret_in(folder: &TempDir) -> FileSecret {
    FileSecret::new(folder.path().join("ring.json"), Arc::new(OsIds))
}

#[tokio::test]
async fn a_ring_file_conforms() {
    let folder = tempfile::tempdir().unwrap();
    conformance::secret_versions(&mut InFile { secret: secret_in(&folder), _folder: folder }).await;
}

#[tokio::test]
async fn a_key_set_file_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let store = FilePublished::new(folder.path().join("deep/jwks.json"), Arc::new(OsIds));
    conformance::published_store(&mut SetInFile { store, _folder: folder }).await;
}

/// A run that is killed between its two writes leaves either ring current, by the ring file alone.
#[tokio::test]
async fn a_switch_is_the_rename_of_the_ring_file() {
    let folder = tempfile::tempdir().unwrap();
    let secret = secret_in(&folder);
    let (ring, state) = (folder.path().join("ring.json"), folder.path().join("ring.json.rotation"));
    secret.put_pending("one", b"first").await.unwrap();
    secret.drop_stage(PENDING, "one").await.unwrap();
    secret.start_rotation("two", Some("one")).await.unwrap();
    secret.put_pending("two", b"second").await.unwrap();
    let mut before: Value = serde_json::from_slice(&std::fs::read(&state).unwrap()).unwrap();
    assert_eq!(secret.move_current(Some("one"), "two").await, Ok(Moved::Moved));

    // Killed after the rename: the state is what the switch wrote down before it.
    before["pending"]["replaces"] = json!("one");
    let written_before = before.to_string();
    std::fs::write(&state, &written_before).unwrap();
    for _ in 0..2 {
        let found = secret.describe().await.unwrap();
        assert_eq!(found.with_stage(CURRENT), Some("two"));
        assert_eq!((found.with_stage(PENDING), found.with_stage(PREVIOUS)), (Some("two"), Some("one")));
        assert_eq!(secret.read("two").await.unwrap().unwrap().as_slice(), b"second");
    }
    // Killed before the rename: nothing has happened, and the move can be made again.
    std::fs::write(&ring, b"first").unwrap();
    std::fs::write(&state, &written_before).unwrap();
    let found = secret.describe().await.unwrap();
    assert_eq!((found.with_stage(CURRENT), found.with_stage(PENDING)), (Some("one"), Some("two")));
    assert_eq!(secret.move_current(Some("one"), "two").await, Ok(Moved::Moved));
    assert_eq!(std::fs::read(&ring).unwrap(), b"second");
    let state = std::fs::read_to_string(&state).unwrap();
    assert!(!state.contains("c2Vjb25k"), "no second copy of the current ring stays: {state}");
}

/// Somebody replaces the file during a rotation: the pending ring was derived from another one.
#[tokio::test]
async fn a_ring_that_was_put_there_by_hand_is_a_version_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let secret = secret_in(&folder);
    secret.put_pending("one", b"first").await.unwrap();
    secret.start_rotation("two", Some("one")).await.unwrap();
    secret.put_pending("two", b"second").await.unwrap();
    std::fs::write(folder.path().join("ring.json"), b"by hand").unwrap();
    let state = secret.describe().await.unwrap();
    let by_hand = state.with_stage(CURRENT).unwrap();
    assert_eq!(by_hand, token_jose::sha256_hex(b"by hand"));
    assert_eq!(secret.move_current(Some("one"), "two").await, Ok(Moved::Lost));
    assert_eq!(secret.read("one").await.unwrap(), None);
}

/// What is largest still fits, and a look changes nothing on the disk.
#[tokio::test]
async fn the_largest_ring_is_stored_and_a_look_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let secret = secret_in(&folder);
    assert_eq!(secret.describe().await.unwrap().versions.len(), 0);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let (ring, jwks) = (folder.path().join("typo/ring.json"), folder.path().join("jwks.json"));
    assert_eq!(run(&["keys", "list", "--ring", text(&ring), "--jwks", text(&jwks)]).code, 65);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let misspelt = run(&["keys", "new", "--ring", "secretmanager:arn:aws:x", "--jwks", text(&jwks)]);
    assert_eq!(misspelt.code, 64, "{misspelt:?}");

    secret.put_pending("one", b"small").await.unwrap();
    let largest = vec![b'x'; KeyRing::MAX_BYTES];
    secret.put_pending("two", &largest).await.unwrap();
    assert_eq!(secret.read("two").await.unwrap().unwrap().as_slice(), largest);
    assert_eq!(secret.move_current(Some("one"), "two").await, Ok(Moved::Moved));
    assert_eq!(secret.read("two").await.unwrap().unwrap().as_slice(), largest);
}

struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn ring(&self) -> PathBuf {
        self.folder.path().join("keys/ring.json")
    }

    fn jwks(&self) -> PathBuf {
        self.folder.path().join("keys/jwks.json")
    }

    fn keys(&self, command: &[&str], code: i32) -> Value {
        let (ring, jwks) = (self.ring(), self.jwks());
        json(&[&["keys"], command, &["--ring", text(&ring), "--jwks", text(&jwks)]].concat(), code)
    }

    fn read(&self) -> (KeyRing, KeySet) {
        let ring = KeyRing::parse(&std::fs::read(self.ring()).unwrap()).unwrap();
        (ring, KeySet::parse(&std::fs::read(self.jwks()).unwrap()).unwrap())
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }
}

fn states(answer: &Value) -> Vec<&str> {
    answer["keys"].as_array().unwrap().iter().map(|key| key["state"].as_str().unwrap()).collect()
}

#[test]
fn a_ring_is_made_rotated_and_withdrawn_in_files() {
    let files = Files::new();
    assert!(files.keys(&["rotate"], 65)["error"]["message"].as_str().unwrap().contains("keys new"));
    let first = files.keys(&["new", "--algorithm", "ES256,EdDSA"], 0);
    assert_eq!((first["generation"].as_u64(), first["default_alg"].as_str()), (Some(1), Some("ES256")));
    assert_eq!(states(&first), ["signs", "standby", "signs", "standby"]);
    assert_eq!((Files::mode(&files.ring()), Files::mode(&files.jwks())), (0o600, 0o644));
    let again = files.keys(&["new"], 65);
    assert!(again["error"]["message"].as_str().unwrap().contains("expected no ring"), "{again}");

    // An issuer of another group reads the file: it still can afterwards.
    std::fs::set_permissions(files.ring(), std::fs::Permissions::from_mode(0o640)).unwrap();
    let second = files.keys(&["rotate"], 0);
    assert_eq!(second["generation"], 2);
    assert_eq!(Files::mode(&files.ring()), 0o640);
    let mut found = states(&second);
    found.sort_unstable();
    assert_eq!(found, ["promoted", "promoted", "signs", "signs", "standby", "standby"]);
    let (ring, set) = files.read();
    assert!(ring.key_versions().iter().all(|key| set.contains(key.public_key())), "all are published");
    for key in ring.key_versions() {
        if let (Some(from), Some(entry)) = (key.signs_from(), set.entry(key.kid()))
            && from > now()
        {
            let lead = from.duration_since(entry.published_at.unwrap()).as_secs();
            assert!(lead >= 86_400, "{lead}");
        }
    }
    let idle = files.keys(&["rotate"], 0);
    assert_eq!((idle["generation"].as_u64(), states(&idle)), (Some(2), states(&second)), "nothing is due");

    let signing = ring.active(ring.default_algorithm(), now()).unwrap().kid().to_string();
    let report = files.keys(&["withdraw", &signing], 0);
    assert_eq!(report["keys"][0]["kid"], signing.as_str());
    let (ring, set) = files.read();
    assert!(ring.withdrawn().any(|kid| kid.as_str() == signing));
    assert_eq!(set.min_generation(), ring.generation());
    assert!(set.keys().all(|key| key.kid().as_str() != signing), "it is not published any more");
    let unknown = files.keys(&["withdraw", &"A".repeat(43)], 65);
    assert_eq!(unknown["error"]["code"], "unusable_input", "{unknown}");
    assert_eq!(files.keys(&["withdraw", "everything"], 64)["error"]["code"], "usage");
    files.keys(&["withdraw", "all"], 0);
    let (after, set) = files.read();
    assert!(after.key_versions().iter().all(|key| ring.get(key.kid()).is_none()), "all keys are fresh");
    assert!(after.permitted_by(&set).is_ok() && ring.permitted_by(&set).is_err(), "older rings are void");
}

#[test]
fn a_lost_key_set_is_published_again_and_a_void_ring_is_not() {
    let files = Files::new();
    files.keys(&["new", "--algorithm", "EdDSA"], 0);
    let old = std::fs::read(files.ring()).unwrap();
    std::fs::remove_file(files.jwks()).unwrap();
    assert_eq!(states(&files.keys(&["list"], 0)), ["unpublished", "unpublished"]);
    assert_eq!(states(&files.keys(&["publish"], 0)), ["signs", "standby"]);
    files.keys(&["withdraw", "all"], 0);
    std::fs::write(files.ring(), old).unwrap();
    let refused = files.keys(&["publish"], 65);
    assert!(refused["error"]["message"].as_str().unwrap().contains("generation"), "{refused}");
    assert_eq!(files.keys(&["rotate"], 65)["error"]["code"], "unusable_input");
}

/// A run that was killed after its first step is finished by the next one, with the same ring.
#[tokio::test]
async fn a_rotation_that_was_begun_is_finished() {
    use token_issuance::rotation::{LocalKeyMaker, Rotation, Step};
    let files = Files::new();
    files.keys(&["new", "--algorithm", "EdDSA"], 0);
    let (ring, _) = files.read();
    let secret = FileSecret::new(files.ring(), Arc::new(OsIds));
    let published = FilePublished::new(files.jwks(), Arc::new(OsIds));
    let state = secret.describe().await.unwrap();
    let current = state.with_stage(CURRENT);
    assert_eq!(secret.start_rotation("x", Some("another")).await, Ok(None), "another run was first");
    let token = secret.start_rotation(&"ab".repeat(16), current).await.unwrap().unwrap();
    let rotation = Rotation::new(
        Arc::new(secret.clone()),
        Arc::new(published),
        Arc::new(LocalKeyMaker),
        ring.algorithms(),
        *ring.policy(),
    );
    rotation.run(Step::Create, &token, now()).await.unwrap();
    let made = KeyRing::parse(&secret.read(&token).await.unwrap().unwrap()).unwrap();
    let answer = files.keys(&["rotate"], 0);
    assert_eq!((answer["generation"].as_u64(), answer["version"].as_str()), (Some(2), Some(token.as_str())));
    let (finished, set) = files.read();
    assert!(made.key_versions().iter().all(|key| finished.get(key.kid()).is_some()), "no second set of keys was made");
    assert_eq!(set.len(), 3);
}

/// Two at once: one ring comes of it, and both are content.
#[test]
fn two_rotations_at_once_make_one_ring() {
    let files = Files::new();
    files.keys(&["new", "--algorithm", "EdDSA"], 0);
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let (ring, jwks) = (files.ring(), files.jwks());
                    run(&["keys", "rotate", "--ring", text(&ring), "--jwks", text(&jwks)])
                })
            })
            .collect();
        for run in runs {
            let run = run.join().unwrap();
            assert!([0, 75].contains(&run.code), "{run:?}");
        }
    });
    let answer = files.keys(&["rotate"], 0);
    assert_eq!(answer["generation"], 2, "{answer}");
    let (ring, set) = files.read();
    assert_eq!((ring.key_versions().len(), set.len()), (3, 3));
}

#[test]
fn no_private_key_is_ever_printed() {
    let files = Files::new();
    let mut printed = String::new();
    let (ring, jwks) = (files.ring(), files.jwks());
    for command in [&["new"][..], &["list"], &["rotate"], &["publish"], &["withdraw", "all"], &["list"]] {
        for form in ["human", "json"] {
            let places = ["--ring", text(&ring), "--jwks", text(&jwks), "--output", form];
            let run = run(&[&["keys"], command, &places].concat());
            printed.push_str(&run.out);
            printed.push_str(&run.err);
        }
    }
    // A ring that a reader cannot use must not be quoted either.
    let damaged = std::fs::read_to_string(&ring).unwrap().replace("\"generation\":", "\"generation\":\"x\",\"was\":");
    std::fs::write(&ring, &damaged).unwrap();
    let refused = run(&["keys", "list", "--ring", text(&ring), "--jwks", text(&jwks)]);
    assert_eq!(refused.code, 65, "{refused:?}");
    printed.push_str(&refused.err);
    let document: Value = serde_json::from_str(&damaged).unwrap();
    for key in document["keys"].as_array().unwrap() {
        if let Some(pkcs8) = key["private"]["pkcs8"].as_str() {
            for part in pkcs8.as_bytes().chunks(24).filter(|part| part.len() == 24) {
                assert!(!printed.contains(std::str::from_utf8(part).unwrap()), "{printed}");
            }
        }
    }
}

#[test]
fn a_plan_is_printed_or_refused_with_its_inequality() {
    let answer =
        json(&["keys", "plan", "--verifier", "snowflake", "--verifier", "envoy", "--verifier", "app=10m,30s"], 0);
    assert_eq!(answer["safe"], true);
    assert_eq!(answer["plan"]["verifiers"][2], json!({"name": "app", "cache": 600, "refetch_cool_down": 30}));
    let names: Vec<&str> =
        answer["plan"]["moments"].as_array().unwrap().iter().map(|moment| moment["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"may-sign") && names.contains(&"unpublished"), "{names:?}");
    let text = run(&["keys", "plan", "--verifier", "snowflake"]);
    assert!(text.out.contains("T+24h") && text.out.contains("to spare"), "{text:?}");

    let refused = json(&["keys", "plan", "--verifier", "eks"], 65);
    let problems = refused["error"]["problems"].as_array().unwrap();
    assert!(
        problems.iter().any(|problem| {
            problem["at"] == "policy.lead" && problem["message"].as_str().unwrap().contains("604800")
        }),
        "{refused}"
    );

    let files = Files::new();
    files.keys(&["new", "--algorithm", "EdDSA", "--interval", "90d", "--max-token-ttl", "10m"], 0);
    let ring = files.ring();
    let of_ring = json(&["keys", "plan", "--ring", super::text(&ring), "--verifier", "istio"], 0);
    assert_eq!(
        (&of_ring["plan"]["policy"]["interval"], &of_ring["plan"]["policy"]["max_token_ttl"]),
        (&json!(7_776_000), &json!(600))
    );
    let unsafe_first = Files::new().keys(&["new", "--lead", "31d"], 65);
    assert!(unsafe_first["error"]["message"].as_str().unwrap().contains("interval > lead"), "{unsafe_first}");
}
