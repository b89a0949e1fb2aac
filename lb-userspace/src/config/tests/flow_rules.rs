//! What becomes of flows: what may be asked for, and what holds where nothing is.

use std::time::Duration;

use super::*;
use crate::model::{FlowEnd, FlowRule, FlowRules, Protocol};

const REMEMBERED: &str = "protocol = \"udp\"\nudp_flows = \"remember\"\n";
const QUIC: &str = "protocol = \"udp\"\nudp_flows = \"quic\"\n\
                    quic_server_id = { offset = 1, length = 4 }\n";
const HASHED: &str = "protocol = \"udp\"\n";

fn text(lines: &str) -> String {
    format!("{DAEMON}{SERVICE}{lines}")
}

fn rules(lines: &str) -> FlowRules {
    let config = Config::parse("lb.toml", &text(lines)).expect(lines);
    config.services[0].flow_rules
}

#[test]
fn what_holds_follows_from_the_protocol_and_from_what_is_remembered() {
    assert_eq!(rules(""), FlowRules::usual(Protocol::Tcp));
    for lines in [REMEMBERED, QUIC] {
        assert_eq!(rules(lines), FlowRules::usual(Protocol::Udp));
    }
    assert_eq!(rules(HASHED), FlowRules::RESELECT);
    let translated = text(HASHED).replace("\"ipip\"", "\"nat\"");
    assert_ne!(translated, text(HASHED));
    let config = Config::parse("lb.toml", &translated).expect("every flow is remembered");
    assert_eq!(config.services[0].flow_rules, FlowRules::usual(Protocol::Udp));
}

#[test]
fn each_rule_can_be_another() {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let keep = |timeout, then| FlowRule::Keep { timeout, then };
    let told = rules(
        "on_drain = \"reset\"\non_down = \"reselect\"\non_remove = \"keep\"\nremove_timeout = \"5s\"\n",
    );
    assert_eq!(told.drain, FlowRule::End(FlowEnd::Reset));
    assert_eq!(told.down, FlowRule::End(FlowEnd::Reselect));
    assert_eq!(told.remove, keep(seconds(5), FlowEnd::Reset));
    assert_eq!(rules("drain_timeout = \"1h\"\n").drain, keep(seconds(3600), FlowEnd::Reset));
    // Flows of UDP that are kept nevertheless are not told anything in the end.
    let udp = rules(&format!("{REMEMBERED}on_down = \"keep\"\non_remove = \"keep\"\n"));
    assert_eq!(udp.down, keep(seconds(10), FlowEnd::Reselect));
    assert_eq!(udp.remove, keep(seconds(30), FlowEnd::Reselect));
    assert_eq!(rules(&format!("{HASHED}on_down = \"reselect\"\n")), FlowRules::RESELECT);
}

#[test]
fn what_contradicts_itself_is_refused_by_its_field() {
    let memory = "flows of UDP that go by their hash follow the table";
    for (before, line, expected) in [
        (
            "",
            "on_drain = \"drop\"",
            "on_drain: `drop` must be \"keep\" or \"reselect\" or \"reset\"",
        ),
        ("", "down_timeout = \"soon\"", "down_timeout: `soon` is not a duration"),
        (
            "",
            "remove_timeout = \"0s\"",
            "remove_timeout: must be more than nothing: write on_remove",
        ),
        (
            "on_drain = \"reset\"\n",
            "drain_timeout = \"1s\"",
            "drain_timeout: only flows that are kept have a time-out: write on_drain = \"keep\"",
        ),
        (REMEMBERED, "down_timeout = \"1s\"", "down_timeout: only flows that are kept"),
        (HASHED, "on_drain = \"keep\"", &format!("on_drain: {memory}")),
        (HASHED, "on_down = \"reset\"", &format!("on_down: {memory}")),
        (HASHED, "remove_timeout = \"1s\"", &format!("remove_timeout: {memory}")),
    ] {
        let text = text(&format!("{before}{line}\n"));
        let line = text.lines().count();
        let error = error(&text);
        let expected = format!("lb.toml:{line}: service.{expected}");
        assert!(error.starts_with(&expected), "{error}\nexpected: {expected}");
    }
}
