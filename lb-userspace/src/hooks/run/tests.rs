use std::{fs, time::Instant};

use super::*;
use crate::hooks::testing::told;

const PATIENCE: Duration = Duration::from_secs(20);

async fn shell(script: &str, within: Duration) -> Outcome {
    let arguments = ["-c".to_owned(), script.to_owned()];
    run(Path::new("/bin/sh"), &arguments, &told(3, "10.0.1.13", "down"), within).await
}

#[tokio::test]
async fn a_program_learns_what_happened_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().display();
    let script = format!("env > {path}/env; cat > {path}/input; pwd > {path}/pwd");
    assert_eq!(shell(&script, PATIENCE).await, Outcome::Done);
    let read = |name| fs::read_to_string(directory.path().join(name)).expect("written");
    let mut lines: Vec<String> = read("env").lines().map(str::to_owned).collect();
    // What the shell sets itself.
    lines.retain(|line| {
        !["PWD=", "OLDPWD=", "SHLVL=", "_="].iter().any(|name| line.starts_with(name))
    });
    lines.sort();
    let expected = [
        "LB_BACKEND=10.0.1.13",
        "LB_EVENT=backend-state",
        "LB_FROM=up",
        "LB_REASON=3 failed checks, last: connect was refused",
        "LB_SEQUENCE=3",
        "LB_SERVICE=web",
        "LB_TIME=2026-11-18T06:26:40.250Z",
        "LB_TO=down",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ];
    let time = lines.iter().position(|line| line.starts_with("LB_TIME=")).expect("it is told");
    assert!(lines[time].ends_with(".250Z"), "{lines:?}");
    lines[time] = expected[6].to_owned();
    assert_eq!(lines, expected);
    let input = serde_json::from_str::<Told>(&read("input")).expect("the event");
    assert_eq!(input, *told(3, "10.0.1.13", "down"));
    assert_eq!(read("pwd"), "/\n");
}

#[tokio::test]
async fn a_program_has_no_capabilities_and_gets_none() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("status");
    let script = format!("cat /proc/self/status > {}", path.display());
    assert_eq!(shell(&script, PATIENCE).await, Outcome::Done);
    let status = fs::read_to_string(path).expect("written");
    let value = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).expect("the kernel tells");
        line.split_whitespace().nth(1).expect("a value").to_owned()
    };
    for set in ["CapEff:", "CapPrm:", "CapInh:", "CapAmb:"] {
        assert_eq!(value(set), "0000000000000000", "{set}");
    }
    assert_eq!(value("NoNewPrivs:"), "1");
}

#[tokio::test]
async fn a_failure_is_told_with_the_first_line() {
    let outcome = shell("echo; echo ' no such unit ' >&2; echo other; exit 3", PATIENCE).await;
    assert_eq!(outcome, Outcome::Failed("exit code 3: no such unit".to_owned()));
    assert_eq!(shell("exit 1", PATIENCE).await, Outcome::Failed("exit code 1".to_owned()));
    let outcome = shell("echo said; kill -9 $$", PATIENCE).await;
    assert_eq!(outcome, Outcome::Failed("killed by signal 9: said".to_owned()));
    let absent = Path::new("/nonexistent/program");
    let outcome = run(absent, &[], &told(1, "10.0.1.13", "down"), PATIENCE).await;
    let Outcome::Failed(why) = outcome else { panic!("{outcome:?}") };
    assert!(why.starts_with("/nonexistent/program: No such file"), "{why}");
}

#[tokio::test]
async fn endless_words_are_neither_kept_nor_in_the_way() {
    let outcome = shell("yes | head -c 1000000; exit 4", PATIENCE).await;
    assert_eq!(outcome, Outcome::Failed("exit code 4: y".to_owned()));
    let outcome = shell("head -c 100000 /dev/zero | tr '\\0' x; exit 4", PATIENCE).await;
    let Outcome::Failed(why) = outcome else { panic!("{outcome:?}") };
    assert_eq!(why.len(), "exit code 4: ".len() + TOLD);
}

#[tokio::test]
async fn what_hangs_is_killed_with_its_children() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("child");
    let script = format!("sleep 1000 & echo $! > {}; wait", path.display());
    let began = Instant::now();
    assert_eq!(shell(&script, Duration::from_millis(500)).await, Outcome::Timeout);
    assert!(began.elapsed() < PATIENCE);
    let child = fs::read_to_string(&path).expect("written");
    assert!(is_gone_soon(child.trim()), "{child} lives");
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_killed() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("child");
    let script = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", path.display());
    let task = tokio::spawn(async move { shell(&script, PATIENCE).await });
    while !path.exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    task.abort();
    let _ = task.await;
    let child = fs::read_to_string(&path).expect("written");
    assert!(is_gone_soon(child.trim()), "{child} lives");
}

#[tokio::test]
async fn what_is_left_in_the_background_delays_nobody() {
    let began = Instant::now();
    assert_eq!(shell("sleep 15 & exit 0", PATIENCE).await, Outcome::Done);
    assert!(began.elapsed() < Duration::from_secs(10));
}

/// Whether the process ends, or is a zombie that its new parent has not looked at yet.
fn is_gone_soon(id: &str) -> bool {
    let until = Instant::now() + PATIENCE;
    let is_alive = || {
        fs::read_to_string(format!("/proc/{id}/stat"))
            .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().starts_with(" Z"))
    };
    while is_alive() {
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}
