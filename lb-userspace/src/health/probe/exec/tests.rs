use std::{collections::BTreeSet, fs, net::TcpListener, os::fd::AsRawFd as _, time::Instant};

use super::*;
use crate::health::WeightAdvice::Weight;

const LIMIT: Duration = Duration::from_secs(5);

fn shell(script: &str) -> ExecProbe {
    ExecProbe {
        program: "/bin/sh".into(),
        arguments: vec!["-c".to_owned(), script.to_owned()],
        exit_code: ExitCode::Verdict,
    }
}

async fn run(
    probe: &ExecProbe,
    limit: Duration,
) -> Result<(Duration, Option<WeightAdvice>), CheckFailure> {
    let remote = "[fd00::8]:8080".parse().expect("address");
    let endpoint = Endpoint { remote, source: None, steer: None };
    let backend = BackendName {
        service: "web".parse().expect("name"),
        address: "fd00::7".parse().expect("address"),
    };
    check(&endpoint, probe, &Budget::new(limit), &backend).await
}

async fn says(script: &str) -> String {
    run(&shell(script), LIMIT).await.expect_err(script).to_string()
}

/// Processes, by the text of their command lines; zombies have none.
fn processes_with(mark: &str) -> usize {
    processes()
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(mark)
        })
        .count()
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").expect("proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Children of this process that have ended and are not taken note of.
fn zombies() -> BTreeSet<u32> {
    let is_zombie = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let parent = format!("PPid:\t{}\n", std::process::id());
        status.contains("State:\tZ") && status.contains(&parent)
    };
    processes().filter(is_zombie).collect()
}

/// Waits for what must come about soon; the time says only when to give up.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(5), "{what}");
        time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn exit_code_0_passes() {
    let (latency, weight) = run(&shell("exit 0"), LIMIT).await.expect("passes");
    assert!(latency < LIMIT);
    assert_eq!(weight, None);
}

#[tokio::test]
async fn others_fail_with_what_was_said() {
    for (script, expected) in [
        ("exit 3", "program ended with exit code 3"),
        ("echo; echo ' full '; echo more; exit 1", "program ended with exit code 1: full"),
        ("echo out; echo err >&2; exit 2", "program ended with exit code 2: err"),
        ("printf 'a\\033[31m' >&2; exit 255", "program ended with exit code 255: a\\u{1b}[31m"),
        ("kill -SEGV $$", "program was ended by SIGSEGV"),
    ] {
        assert_eq!(says(script).await, expected, "{script}");
    }
}

#[tokio::test]
async fn exit_codes_can_be_weights() {
    let exits = async |code: u8| {
        let probe = ExecProbe { exit_code: ExitCode::Weight, ..shell(&format!("exit {code}")) };
        run(&probe, LIMIT).await.map(|(_, weight)| weight)
    };
    assert_eq!(exits(0).await, Ok(None));
    assert!(matches!(exits(1).await, Err(CheckFailure::Program(_))));
    assert_eq!(exits(2).await, Ok(Some(Weight(0))));
    assert_eq!(exits(255).await, Ok(Some(Weight(253))));
}

#[tokio::test]
async fn the_environment_is_ours_alone() {
    let script = "test \"$(env | sort | grep -v -e ^_= -e ^PWD= -e ^SHLVL= -e ^OLDPWD=)\" = \
                  \"$(printf 'LB_ADDRESS=fd00::8\\nLB_BACKEND=fd00::7\\nLB_CHECK_TIMEOUT_MS=%s\\nLB_PORT=8080\\n\
                  LB_SERVICE=web\\nPATH=%s' $LB_CHECK_TIMEOUT_MS $PATH)\" || { env; exit 1; }; \
                  test $LB_CHECK_TIMEOUT_MS -le 5000 -a $LB_CHECK_TIMEOUT_MS -gt 2500";
    run(&shell(script), LIMIT).await.expect("passes");
    assert!(std::env::var("HOME").is_ok() || std::env::var("CARGO").is_ok(), "nothing to clear");
}

#[tokio::test]
async fn a_missing_program_is_told_and_not_the_backends_fault() {
    let probe = ExecProbe { program: "/nowhere/check".into(), ..shell("") };
    let failure = run(&probe, LIMIT).await.expect_err("not there");
    let expected = "not checked: cannot run /nowhere/check: No such file or directory";
    assert_eq!(failure.to_string(), expected);
    assert!(failure.is_local());
    let probe = ExecProbe { program: "/etc/passwd".into(), ..shell("") };
    let failure = run(&probe, LIMIT).await.expect_err("no program");
    assert_eq!(failure.to_string(), "not checked: cannot run /etc/passwd: Permission denied");
}

#[tokio::test]
async fn a_timeout_ends_the_whole_group() {
    let limit = Duration::from_secs(2);
    let before = zombies();
    let started = Instant::now();
    // A child and a grandchild that ignore what can be ignored.
    let script = "trap '' TERM HUP INT; (trap '' TERM HUP; sleep 61.7251) & sleep 61.7251";
    let probe = shell(script);
    let (outcome, ()) = tokio::join!(run(&probe, limit), async {
        until("it runs", || processes_with("61.7251") >= 2).await;
    });
    assert_eq!(outcome, Err(CheckFailure::Stalled(Step::Program, limit)));
    assert!((limit..limit * 10).contains(&started.elapsed()), "{:?}", started.elapsed());
    until("it is gone", || processes_with("61.7251") == 0).await;
    until("no zombies", || zombies().is_subset(&before)).await;
}

#[tokio::test]
async fn what_a_program_leaves_behind_ends_with_it() {
    // It holds the pipes as well, which must not hold the check.
    let limit = Duration::from_secs(60);
    let started = Instant::now();
    run(&shell("sleep 61.7252 & exit 0"), limit).await.expect("passes");
    assert!(started.elapsed() < limit / 2, "waited for the pipe");
    until("it is gone", || processes_with("61.7252") == 0).await;
}

#[tokio::test]
async fn a_check_that_is_dropped_ends_its_group() {
    let script = "sleep 61.7253 & sleep 61.7253";
    let probe = shell(script);
    {
        let running = run(&probe, LIMIT);
        tokio::select! {
            outcome = running => panic!("{outcome:?}"),
            () = until("it runs", || processes_with("sleep\x0061.7253") >= 2) => {}
        }
    }
    until("it is gone", || processes_with("61.7253") == 0).await;
}

#[tokio::test]
async fn a_chatty_program_neither_blocks_nor_fills_memory() {
    // More than a pipe holds.
    run(&shell("head -c 300000 /dev/zero; exit 0"), LIMIT).await.expect("passes");
    // Without end: the closed pipe ends it long before the time-out.
    let limit = Duration::from_secs(60);
    let started = Instant::now();
    let failure = run(&shell("exec yes chatter"), limit).await.expect_err("endless");
    assert_eq!(failure.to_string(), "program was ended by SIGPIPE: chatter");
    assert!(started.elapsed() < limit / 2);
}

#[tokio::test]
async fn at_most_64_run_at_a_time_and_200_pass() {
    let before = (zombies(), descriptors());
    let mut checks = tokio::task::JoinSet::new();
    for _ in 0..200 {
        checks.spawn(async { run(&shell("sleep 0.05 # 617254"), Duration::from_secs(60)).await });
    }
    let mut most = 0;
    while !checks.is_empty() {
        most = most.max(processes_with("# 617254"));
        if let Ok(Some(outcome)) = time::timeout(Duration::from_millis(1), checks.join_next()).await
        {
            outcome.expect("ran").expect("passes");
        }
    }
    assert!((2..=64).contains(&most), "{most} at a time");
    until("no zombies", || zombies().is_subset(&before.0)).await;
    until("no descriptors", || descriptors() <= before.1 + 24).await;
}

/// Descriptors of this process; other tests open some, too.
fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("proc").count()
}

#[tokio::test]
async fn programs_get_none_of_our_descriptors() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let link = format!("/proc/self/fd/{}", listener.as_raw_fd());
    let name = fs::read_link(link).expect("a socket").display().to_string();
    let script = format!("ls -l /proc/self/fd | grep -qF '{name}' && exit 1; exit 0");
    run(&shell(&script), LIMIT).await.expect("not inherited");
}

#[tokio::test]
async fn who_waits_too_long_for_a_turn_is_not_checked() {
    let turns = Semaphore::new(1);
    let budget = Budget::new(Duration::from_millis(100));
    let first = turn(&turns, &budget).await.expect("free");
    let failure = turn(&turns, &budget).await.expect_err("taken");
    assert_eq!(failure.to_string(), "not checked: 64 programs of other checks are running");
    assert!(failure.is_local());
    drop(first);
    let _again = turn(&turns, &budget).await.expect("free again");
}
