//! Where the token goes, and where nobody can make it go.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

use jwt_generator::file::{FileOptions, Owner, TokenFile};
use token_shell::OsIds;

use super::{Setup, parts};

#[test]
fn an_existing_file_is_replaced_whole_with_its_mode() {
    let setup = Setup::new();
    fs::write(setup.output(), "x".repeat(100_000)).unwrap();
    fs::set_permissions(setup.output(), fs::Permissions::from_mode(0o666)).unwrap();
    let before = setup.output().metadata().unwrap().ino();
    setup.run(&[]).succeeded(&setup.output());
    let after = setup.output().metadata().unwrap();
    assert_eq!(after.permissions().mode() & 0o7777, 0o600);
    assert_ne!(before, after.ino(), "a new file took the name");
    assert_eq!(setup.token().split('.').count(), 3);
}

#[test]
fn parents_are_made() {
    let mut setup = Setup::new();
    let deep = setup.path("a/b/c/token.jwt");
    setup.set("OUTPUT_PATH", deep.to_str().unwrap()).run(&[]).succeeded(&deep);
    let relative = setup.path("d/token.jwt");
    let outcome = setup.set("OUTPUT_PATH", "d/token.jwt").run(&[]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(relative.exists());
}

#[test]
fn unwritable_paths_are_73_or_64() {
    let mut setup = Setup::new();
    fs::write(setup.path("file"), "").unwrap();
    fs::create_dir(setup.path("folder")).unwrap();
    for (path, code, words) in [
        ("file/token.jwt", 73, "expected a directory"),
        ("folder", 73, "found a directory"),
        ("/dev/null", 73, "found a device"),
        ("/proc/token.jwt", 73, "hint"),
        ("folder/", 64, "end the path with the file's name"),
        ("..", 64, "end the path with the file's name"),
    ] {
        setup.set("OUTPUT_PATH", path).run(&[]).failed(code, &[words]);
    }
    let long = "n".repeat(300);
    setup.set("OUTPUT_PATH", &long).run(&[]).failed(73, &["shorter path"]);
}

#[test]
fn a_link_at_the_files_name_is_refused() {
    let setup = Setup::new();
    fs::write(setup.path("victim"), "untouched").unwrap();
    for target in ["victim", "/etc/hostname", "nowhere"] {
        symlink(target, setup.output()).unwrap();
        setup.run(&[]).failed(73, &["expected no symbolic link", "remove it"]);
        assert!(setup.output().is_symlink() && setup.leftovers().is_empty());
        fs::remove_file(setup.output()).unwrap();
    }
    assert_eq!(fs::read_to_string(setup.path("victim")).unwrap(), "untouched");
    assert!(!setup.path("nowhere").exists());
}

#[test]
fn a_parent_link_is_followed_only_where_others_cannot_put_one() {
    let mut setup = Setup::new();
    for name in ["shared", "sticky", "own", "outside"] {
        fs::create_dir(setup.path(name)).unwrap();
    }
    for (name, mode) in [("shared", 0o777), ("sticky", 0o1777), ("own", 0o755)] {
        fs::set_permissions(setup.path(name), fs::Permissions::from_mode(mode)).unwrap();
        symlink(setup.path("outside"), setup.path(name).join("link")).unwrap();
    }
    let there = setup.path("outside/token.jwt");
    setup.set("OUTPUT_PATH", "shared/link/token.jwt").run(&[]).failed(73, &["symbolic link", "give the path"]);
    setup.set("OUTPUT_PATH", "shared/link/new/token.jwt").run(&[]).failed(73, &["symbolic link"]);
    assert!(!there.exists() && !setup.path("outside/new").exists());
    for name in ["sticky", "own"] {
        let path = format!("{name}/link/token.jwt");
        let outcome = setup.set("OUTPUT_PATH", &path).run(&[]);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        fs::remove_file(&there).unwrap();
    }
    // Somebody else's link in the sticky folder: only root can play somebody else.
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::lchown(setup.path("sticky/link"), Some(4711), None).unwrap();
        setup.set("OUTPUT_PATH", "sticky/link/token.jwt").run(&[]).failed(73, &["symbolic link"]);
        assert!(!there.exists());
    }
    symlink("circle", setup.path("circle")).unwrap();
    setup.set("OUTPUT_PATH", "circle/token.jwt").run(&[]).failed(73, &["circle"]);
}

#[test]
fn mode_and_owner_are_set_before_the_content() {
    let setup = Setup::new();
    if !rustix::process::geteuid().is_root() {
        return token_testkit::skipped("root");
    }
    setup.run(&["--owner", "65532:65533", "--mode", "0440"]).succeeded(&setup.output());
    let found = setup.output().metadata().unwrap();
    assert_eq!((found.uid(), found.gid(), found.permissions().mode() & 0o7777), (65532, 65533, 0o440));
    let file = TokenFile::open(setup.output(), &FileOptions { mode: 0o600, owner: Some(Owner { uid: 1, gid: None }) });
    file.unwrap().write(b"x", &OsIds).unwrap();
    assert_eq!(setup.output().metadata().unwrap().uid(), 1);
}

#[test]
fn only_leftovers_of_this_file_are_cleaned() {
    let setup = Setup::new();
    let id = "0123456789abcdef0123456789abcdef";
    let ours = format!(".token.jwt.{id}.tmp");
    let others = [format!(".other.jwt.{id}.tmp"), ".token.jwt.tmp".to_owned(), format!("token.jwt.{id}.tmp")];
    for name in others.iter().chain([&ours]) {
        fs::write(setup.path(name), "left").unwrap();
    }
    // A link of the right name is not ours, and what it points to even less.
    let link = format!(".token.jwt.{}.tmp", id.replace('0', "f"));
    symlink(setup.path(&others[0]), setup.path(&link)).unwrap();
    setup.run(&[]).succeeded(&setup.output());
    assert!(!setup.path(&ours).exists());
    for name in others.iter().chain([&link]) {
        assert!(setup.path(name).symlink_metadata().is_ok(), "{name}");
    }
}

#[test]
fn a_file_that_another_run_is_writing_is_left_alone() {
    let setup = Setup::new();
    let path = setup.path(".token.jwt.0123456789abcdef0123456789abcdef.tmp");
    let held = fs::File::create(&path).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    setup.run(&[]).succeeded(&setup.output());
    assert!(path.exists());
    drop(held);
    setup.run(&[]).succeeded(&setup.output());
    assert!(!path.exists());
}

#[test]
fn runs_at_the_same_time_all_succeed() {
    let setup = Setup::new();
    let runs: Vec<_> = (0..24).map(|_| setup.command(&[]).spawn().unwrap()).collect();
    for mut run in runs {
        assert_eq!(run.wait().unwrap().code(), Some(0));
    }
    assert_eq!(parts(&setup.token()).1["sub"], "billing");
    assert_eq!(setup.leftovers(), Vec::<String>::new());
}

/// **INV** A reader sees the old token or the new one: never a part, never nothing.
#[test]
fn a_busy_reader_never_sees_a_torn_or_empty_file_in_a_thousand_renewals() {
    let setup = Setup::new();
    let file = TokenFile::open(setup.output(), &FileOptions::default()).unwrap();
    // Lengths differ, so that a part of one is no other; each content is one letter, so that a mixture shows.
    let content = |n: usize| vec![b'a' + u8::try_from(n % 26).unwrap(); 500 + 97 * (n % 26)];
    file.write(&content(0), &OsIds).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut reads = 0_u32;
                    while !done.load(Ordering::Relaxed) {
                        let found = fs::read(setup.output()).expect("the file is always there");
                        let number = usize::from(found.first().expect("the file is never empty") - b'a');
                        assert!(found == content(number), "a torn file of {} bytes", found.len());
                        reads += 1;
                    }
                    reads
                })
            })
            .collect();
        for n in 1..=1000 {
            file.write(&content(n), &OsIds).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().unwrap() > 100);
        }
    });
    assert_eq!(setup.leftovers(), Vec::<String>::new());
}

/// Somebody swaps the folder for a link to another one, over and over: whatever a run saw, nothing is written there.
#[test]
fn a_parent_that_is_swapped_for_a_link_meanwhile_leads_nowhere() {
    let setup = Setup::new();
    fs::create_dir(setup.path("shared")).unwrap();
    fs::set_permissions(setup.path("shared"), fs::Permissions::from_mode(0o777)).unwrap();
    fs::create_dir(setup.path("outside")).unwrap();
    let (folder, kept) = (setup.path("shared/t"), setup.path("shared/kept"));
    fs::create_dir(&kept).unwrap();
    symlink(setup.path("outside"), &folder).unwrap();
    let file = TokenFile::open(folder.join("token.jwt"), &FileOptions::default()).unwrap();
    let done = AtomicBool::new(false);
    let exchange = || {
        let flags = rustix::fs::RenameFlags::EXCHANGE;
        rustix::fs::renameat_with(rustix::fs::CWD, &folder, rustix::fs::CWD, &kept, flags).unwrap();
    };
    let (mut written, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                exchange();
            }
        });
        for _ in 0..2000 {
            match file.write(b"token", &OsIds) {
                Ok(()) => written += 1,
                Err(_) => refused += 1,
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read_dir(setup.path("outside")).unwrap().count(), 0);
    assert!(written > 0 && refused > 0, "{written} written, {refused} refused");
}
