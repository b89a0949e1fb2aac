//! What is done when something happens.

use std::time::Duration;

use super::*;
use crate::{
    event::EventKind,
    model::{Hook, HookAction},
};

const ON: &str = "on = [\"backend-state\"]\n";
const COMMAND: &str = "command = [\"/usr/bin/ssh\", \"web1\"]\n";

fn text(lines: &str) -> String {
    format!("{DAEMON}{SERVICE}[[hook]]\nname = \"restart\"\n{lines}")
}

#[test]
fn hooks_are_programs_or_urls() {
    let more = "to = [\"down\", \"none\"]\nservices = [\"web\"]\ntimeout = \"2s\"\n\
                max_per_minute = 7\nmax_running = 1\n[[hook]]\nname = \"scale\"\n\
                on = [\"scaling\", \"panic\"]\nurl = \"http://[::1]:8080/scale?g=a\"\nretries = 5\n";
    let text = text(&format!("{ON}{COMMAND}{more}"));
    let config = Config::parse("lb.toml", &text).expect("a good one");
    let [restart, scale] = &config.hooks[..] else { panic!("{config:?}") };
    let words = |set: &std::collections::BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
    assert_eq!(
        (restart.name.as_str(), words(&restart.to)),
        ("restart", vec!["down".into(), "none".into()])
    );
    assert_eq!(restart.services, [config.services[0].name.clone()].into());
    assert_eq!(
        (restart.timeout, restart.max_per_minute, restart.max_running),
        (Duration::from_secs(2), 7, 1)
    );
    let HookAction::Command { program, arguments } = &restart.action else { panic!("{config:?}") };
    assert_eq!(
        (program.to_str(), &arguments[..]),
        (Some("/usr/bin/ssh"), &["web1".to_owned()][..])
    );
    assert_eq!(scale.on, [EventKind::Scaling, EventKind::Panic].into());
    let HookAction::Url { url, retries: 5 } = &scale.action else { panic!("{config:?}") };
    assert_eq!(url, "http://[::1]:8080/scale?g=a");
    assert_eq!((scale.timeout, scale.max_per_minute), (Hook::DEFAULT_TIMEOUT, 30));
    assert!(!format!("{config:?}").contains("web1"), "arguments may be secret");
}

#[test]
fn faults_name_what_no_hook_can_do() {
    let url = |url: &str| format!("{ON}url = \"{url}\"\n");
    let cases = [
        (ON.to_owned(), "9: hook: needs either `command` or `url`"),
        (format!("{ON}{COMMAND}url = \"http://a\"\n"), "9: hook: needs either"),
        (COMMAND.to_owned(), "8: hook: missing field `on`"),
        (format!("on = []\n{COMMAND}"), "10: hook.on: name at least one"),
        (format!("on = [\"hook\"]\n{COMMAND}"), "10: hook.on: hooks do not follow from hooks"),
        (format!("on = [\"down\"]\n{COMMAND}"), "10: hook.on: `down` is not one of backend-state,"),
        (
            format!("{ON}to = [\"donw\"]\n{COMMAND}"),
            "11: hook.to: `donw` is nothing that backend-state leads to",
        ),
        (
            format!("on = [\"panic\"]\nto = [\"up\"]\n{COMMAND}"),
            "11: hook.to: `up` is nothing that",
        ),
        (
            format!("{ON}services = [\"dns\"]\n{COMMAND}"),
            "11: hook.services: there is no service `dns`",
        ),
        (format!("{ON}command = []\n"), "11: hook.command: name a program"),
        (format!("{ON}command = [\"ssh\"]\n"), "11: hook.command: the program must be an absolute"),
        (format!("{ON}{COMMAND}retries = 1\n"), "12: hook.retries: is for `url`"),
        (
            format!("{}retries = 6\n", url("http://a")),
            "12: hook.retries: must be a number from 0 to 5",
        ),
        (url("ftp://a"), "11: hook.url: must start with http://"),
        (url("/a"), "11: hook.url: must start with http://"),
        (url("http://me:secret@a/"), "11: hook.url: must not have a user in it"),
        (url("http://a b"), "11: hook.url: is not a URL"),
        (format!("{ON}{COMMAND}timeout = \"0s\"\n"), "12: hook.timeout: must be more than nothing"),
        (format!("{ON}{COMMAND}max_per_minute = 0\n"), "12: hook.max_per_minute: must be a number"),
        (
            format!("{ON}{COMMAND}[[hook]]\nname = \"restart\"\n{ON}{COMMAND}"),
            "13: hook.name: another hook has this name",
        ),
    ];
    for (lines, expected) in cases {
        let error = error(&text(&lines));
        assert!(error.starts_with(&format!("lb.toml:{expected}")), "{lines}: {error}");
    }
    let error = error(&text(&format!("{ON}{COMMAND}")).replace("\"restart\"", "\"re start\""));
    assert!(error.starts_with("lb.toml:9: hook.name: must be 1 to 63 letters"), "{error}");
}
