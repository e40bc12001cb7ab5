//! Volumes that refuse: full, read-only. In a mount namespace of the test's own, so nothing of the machine is touched;
//! that takes root.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use token_testkit::{Process, skipped, wait_until};

use super::{Outcome, Setup, parts, program};

/// Whether this machine lets a test have a mount namespace with a file system of its own.
fn namespaces() -> bool {
    let run = Command::new("unshare").args(["--mount", "sh", "-c", "mount -t tmpfs -o size=16k tmpfs /mnt"]).output();
    run.is_ok_and(|run| run.status.success())
}

/// Runs a shell script in a mount namespace with `$DIR`, an empty tmpfs of two pages, and the program as `$PROGRAM`.
fn script(setup: &Setup, text: &str) -> Outcome {
    let folder = setup.path("volume");
    std::fs::create_dir_all(&folder).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec", &format!("mount -t tmpfs -o size=8k tmpfs \"$DIR\"\n{text}")]);
    command.env_clear().envs(&setup.variables).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("DIR", &folder).env("PROGRAM", program()).env("OUTPUT_PATH", folder.join("token.jwt"));
    Outcome::of(&command.output().unwrap())
}

#[test]
fn a_full_disk_is_73_and_the_old_token_stays() {
    if !namespaces() {
        return skipped("mount namespaces (root)");
    }
    let setup = Setup::new();
    let outcome = script(
        &setup,
        "printf old > $DIR/token.jwt\nhead -c 4096 /dev/zero > $DIR/fill\n$PROGRAM || echo exit $?\ncat $DIR/token.jwt\nls -A $DIR | wc -l",
    );
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "exit 73\nold2\n"), "{outcome:?}");
    assert!(outcome.stderr.contains("No space left") && outcome.stderr.contains("hint: free space"), "{outcome:?}");
}

#[test]
fn what_a_killed_run_left_makes_room_for_the_next() {
    if !namespaces() {
        return skipped("mount namespaces (root)");
    }
    let setup = Setup::new();
    let outcome = script(
        &setup,
        "printf old > $DIR/token.jwt\nhead -c 4096 /dev/zero > $DIR/.token.jwt.00000000000000000000000000000000.tmp\n$PROGRAM\nls -A $DIR",
    );
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.stdout.ends_with("token.jwt\ntoken.jwt\n"), "{outcome:?}");
}

#[test]
fn a_read_only_volume_is_73_and_the_old_token_stays() {
    if !namespaces() {
        return skipped("mount namespaces (root)");
    }
    let setup = Setup::new();
    let outcome = script(
        &setup,
        "printf old > $DIR/token.jwt\nmount -o remount,ro $DIR\n$PROGRAM || echo exit $?\ncat $DIR/token.jwt",
    );
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "exit 73\nold"), "{outcome:?}");
    assert!(outcome.stderr.contains("Read-only file system") && outcome.stderr.contains("hint: mount"), "{outcome:?}");
    let outcome = script(&setup, "mount -o remount,ro $DIR\nOUTPUT_PATH=$DIR/new/token.jwt $PROGRAM || echo exit $?");
    assert_eq!(outcome.stdout, "exit 73\n", "{outcome:?}");
}

/// The sidecar in a namespace: `inside` is its volume as this process sees it.
struct Namespaced {
    setup: Setup,
    sidecar: Process,
}

impl Namespaced {
    fn start(arguments: &str) -> Self {
        let setup = Setup::new();
        let folder = setup.path("volume");
        std::fs::create_dir(&folder).unwrap();
        let mut command = Command::new("unshare");
        let text = format!("mount -t tmpfs -o size=8k tmpfs \"$DIR\"\nexec \"$PROGRAM\" {arguments}");
        command.args(["--mount", "sh", "-ec", &text]);
        command.env_clear().envs(&setup.variables).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("DIR", &folder).env("PROGRAM", program()).env("OUTPUT_PATH", folder.join("token.jwt"));
        let sidecar = Process::start("jwt-generator", command);
        Self { setup, sidecar }
    }

    /// Runs a command in the sidecar's namespace.
    fn inside(&self, text: &str) -> Outcome {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.sidecar.id().to_string(), "--mount", "sh", "-ec", text]);
        command.env("DIR", self.setup.path("volume"));
        Outcome::of(&command.output().unwrap())
    }

    fn token(&self) -> Option<String> {
        Some(self.inside("cat $DIR/token.jwt").stdout).filter(|token| !token.is_empty())
    }

    fn logged(&self, message: &str) -> usize {
        self.sidecar.stderr().matches(message).count()
    }
}

fn hangup(process: &Process) {
    let id = i32::try_from(process.id()).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(id).unwrap(), rustix::process::Signal::HUP).unwrap();
}

const SOON: Duration = Duration::from_secs(30);

/// **INV** The old token stays while a volume refuses, and a new one comes when it does not.
#[test]
fn the_sidecar_survives_a_full_and_a_read_only_volume() {
    if !namespaces() || !Path::new("/usr/bin/nsenter").exists() {
        return skipped("mount namespaces (root) and nsenter");
    }
    let trouble = [
        ("head -c 4096 /dev/zero > $DIR/fill", "rm $DIR/fill", "No space left"),
        ("mount -o remount,ro $DIR", "mount -o remount,rw $DIR", "Read-only file system"),
    ];
    let run = Namespaced::start("--renew --ttl 1h");
    let mut old = wait_until("the first token", SOON, || run.token());
    for (break_it, mend_it, words) in trouble {
        assert_eq!(run.inside(break_it).code, Some(0));
        hangup(&run.sidecar);
        wait_until(words, SOON, || (run.logged(words) > 0).then_some(()));
        assert_eq!(run.token().as_ref(), Some(&old), "the old token stays");
        assert!(run.sidecar.stderr().contains("\"token_on_disk\":\"valid until "), "{}", run.sidecar.output());
        assert_eq!(run.inside(mend_it).code, Some(0));
        old = wait_until("a new token", SOON, || run.token().filter(|token| *token != old));
        assert_eq!(parts(&old).1["sub"], "billing");
    }
}
