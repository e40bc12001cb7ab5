//! What a test started ends with it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use token_testkit::{Process, wait_until};

const SOON: Duration = Duration::from_secs(10);

/// A shell that has a child of its own, writes its id, and ignores SIGTERM.
fn stubborn_family() -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "trap '' TERM; sleep 300 & echo $!; wait; sleep 300"]);
    command
}

fn first_line(process: &Process) -> String {
    wait_until("the shell's line", SOON, || process.stdout().split_once('\n').map(|(line, _)| line.to_owned()))
}

/// Whether the process still runs (a zombie does not).
fn runs(id: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(id).join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn wait_for_end_of(id: &str) {
    wait_until(&format!("the end of process {id}"), SOON, || (!runs(id)).then_some(()));
}

#[test]
fn a_drop_ends_the_whole_family_even_if_it_ignores_sigterm() {
    let process = Process::start("family", stubborn_family());
    let (parent, child) = (process.id().to_string(), first_line(&process));
    assert!(runs(&parent) && runs(&child));
    drop(process);
    wait_for_end_of(&parent);
    wait_for_end_of(&child);
}

#[test]
fn a_paused_process_ends_with_its_test_too() {
    let process = Process::start("family", stubborn_family());
    let child = first_line(&process);
    process.pause();
    drop(process);
    wait_for_end_of(&child);
}

#[test]
fn output_is_kept_for_messages() {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "echo to-out; echo to-err >&2; exit 7"]);
    let mut process = Process::start("talker", command);
    assert_eq!(process.wait(SOON).code(), Some(7));
    let output = wait_until("both streams", SOON, || {
        let output = process.output();
        (output.contains("to-out") && output.contains("to-err")).then_some(output)
    });
    assert!(output.contains("--- talker stdout\nto-out"), "{output}");
}

#[test]
#[should_panic(expected = "waited 50ms for a day that never comes")]
fn a_failing_wait_names_what_it_waited_for() {
    wait_until("a day that never comes", Duration::from_millis(50), || None::<()>);
}

/// Not a test: the process that [`a_killed_test_leaves_nothing_behind`] kills.
#[test]
#[ignore = "a helper of another test"]
fn helper_that_is_killed() {
    let process = Process::start("family", stubborn_family());
    println!("child={}", first_line(&process));
    std::thread::sleep(Duration::from_secs(120));
}

#[test]
fn a_killed_test_leaves_nothing_behind() {
    let test = std::env::current_exe().unwrap();
    let mut victim = Command::new(test)
        .args(["--exact", "processes::helper_that_is_killed", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(victim.stdout.take().unwrap()));
    let child = lines
        .find_map(|line| line.unwrap().split_once("child=").map(|(_, id)| id.to_owned()))
        .expect("the helper says whom it started");
    assert!(runs(&child));
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_for_end_of(&child);
}
