//! A service's policy on the command line.

use clap::Args;

use crate::{
    api::policy::{FlowLimitItem, PolicyItem},
    model::{Fragments, NoBackend, Ping},
};

/// What a new service asks for beyond sending packets to backends.
#[derive(Args, Debug)]
pub(super) struct PolicyArguments {
    /// Source prefix that is allowed; if there is any, others are denied.
    #[arg(long, value_name = "PREFIX")]
    allow: Vec<String>,
    /// Source prefix that is denied.
    #[arg(long, value_name = "PREFIX")]
    deny: Vec<String>,
    /// New flows in all, as in 1000/s or 30/m.
    #[arg(long, value_name = "RATE")]
    max_new_flows: Option<String>,
    /// New flows of each source, likewise.
    #[arg(long, value_name = "RATE")]
    max_new_flows_per_source: Option<String>,
    /// What clients are told where there is no backend: drop or refuse.
    #[arg(long, value_name = "WORD")]
    no_backend: Option<String>,
    /// How UDP flows find their backend: hash or remember.
    #[arg(long, value_name = "WORD")]
    udp_flows: Option<String>,
    /// Time until a silent UDP flow is forgotten.
    #[arg(long, value_name = "DURATION")]
    udp_timeout: Option<String>,
    /// How fragments find their backend: track or by-address.
    #[arg(long, value_name = "WORD")]
    fragments: Option<String>,
    /// What becomes of echo requests to the address: pass, answer or backend.
    #[arg(long, value_name = "WORD")]
    ping: Option<String>,
    /// What becomes of flows whose backend drains: keep, reselect or reset.
    #[arg(long, value_name = "WORD")]
    on_drain: Option<String>,
    /// How long they are kept.
    #[arg(long, value_name = "DURATION")]
    drain_timeout: Option<String>,
    /// The same for those whose backend is down.
    #[arg(long, value_name = "WORD")]
    on_down: Option<String>,
    /// How long they are kept.
    #[arg(long, value_name = "DURATION")]
    down_timeout: Option<String>,
    /// The same for those whose backend was removed.
    #[arg(long, value_name = "WORD")]
    on_remove: Option<String>,
    /// How long they are kept.
    #[arg(long, value_name = "DURATION")]
    remove_timeout: Option<String>,
}

impl PolicyArguments {
    /// The lines of the configuration that say so.
    pub(super) fn lines(&self) -> Vec<String> {
        let lists = [("allow", &self.allow), ("deny", &self.deny)];
        let list = |(key, values): (&str, &Vec<String>)| {
            let values: Vec<String> = values.iter().map(|value| quote(value)).collect();
            (!values.is_empty()).then(|| format!("{key} = [{}]", values.join(", ")))
        };
        let words = [
            ("max_new_flows", &self.max_new_flows),
            ("max_new_flows_per_source", &self.max_new_flows_per_source),
            ("no_backend", &self.no_backend),
            ("udp_flows", &self.udp_flows),
            ("udp_timeout", &self.udp_timeout),
            ("fragments", &self.fragments),
            ("ping", &self.ping),
            ("on_drain", &self.on_drain),
            ("drain_timeout", &self.drain_timeout),
            ("on_down", &self.on_down),
            ("down_timeout", &self.down_timeout),
            ("on_remove", &self.on_remove),
            ("remove_timeout", &self.remove_timeout),
        ];
        let word = |(key, value): (&str, &Option<String>)| {
            value.as_ref().map(|value| format!("{key} = {}", quote(value)))
        };
        lists.into_iter().filter_map(list).chain(words.into_iter().filter_map(word)).collect()
    }
}

/// Text as TOML writes it.
pub(super) fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// What is not as usual, as names and words.
pub(super) fn facts(policy: &PolicyItem) -> Vec<(&'static str, String)> {
    let prefixes = |list: &[ipnet::IpNet]| {
        let words: Vec<String> = list.iter().map(|prefix| plain(*prefix)).collect();
        (!list.is_empty()).then(|| words.join(", "))
    };
    let limits =
        [("in all", &policy.max_new_flows), ("a source", &policy.max_new_flows_per_source)];
    let limits: Vec<String> = limits
        .into_iter()
        .filter_map(|(whose, limit)| {
            let FlowLimitItem { rate, burst } = limit.as_ref()?;
            Some(format!("{rate} {whose}, {burst} at once"))
        })
        .collect();
    let facts = [
        ("allowed", prefixes(&policy.allow)),
        ("denied", prefixes(&policy.deny)),
        ("new flows", (!limits.is_empty()).then(|| limits.join("; "))),
        ("no backend", (policy.no_backend == NoBackend::Refuse).then(|| "refuse".to_owned())),
        ("udp flows", udp_flows(policy)),
        ("fragments", (policy.fragments == Fragments::ByAddress).then(|| "by-address".to_owned())),
        ("ping", policy.ping.map(|ping| word(ping).to_owned())),
    ];
    facts.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
}

fn udp_flows(policy: &PolicyItem) -> Option<String> {
    match (policy.udp_timeout_seconds, &policy.quic_server_id) {
        (Some(seconds), _) => Some(format!("remembered until silent for {seconds} s")),
        (_, Some(id)) => Some(format!(
            "by QUIC connection identifier, {} bytes from byte {} on, {} backends have one",
            id.length,
            id.offset,
            id.servers.len()
        )),
        (None, None) => None,
    }
}

const fn word(ping: Ping) -> &'static str {
    match ping {
        Ping::Pass => "pass",
        Ping::Answer => "answer",
        Ping::Backend => "backend",
    }
}

/// A prefix of one address as that.
fn plain(prefix: ipnet::IpNet) -> String {
    if prefix.prefix_len() == prefix.max_prefix_len() {
        prefix.addr().to_string()
    } else {
        prefix.to_string()
    }
}
