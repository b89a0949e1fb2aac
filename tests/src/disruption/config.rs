//! The configuration of the balancers of a scenario.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    echo::CHECK_PORT,
    scenario::{Backend, Settings},
};
use crate::address::{self, Family};

/// Where the services are, and the servers.
pub(super) const PORT: u16 = 80;

/// What reloads change.
#[derive(Debug, Clone, Default)]
pub(super) struct Revision {
    /// How often it was reloaded.
    pub(super) number: u64,
    /// Weights that are not the default.
    pub(super) weights: BTreeMap<Backend, u16>,
}

/// The names of all services of these families.
pub(super) fn services(families: &[Family]) -> Vec<(String, Family)> {
    let pair = |family: &Family| ["tcp", "udp"].map(|kind| (format!("{kind}-{family}"), *family));
    families.iter().flat_map(pair).collect()
}

/// The configuration file.
pub(super) fn text(settings: &Settings, revision: &Revision) -> String {
    let mut text = "[daemon]\ninterfaces = [\"eth0\"]\nxdp_mode = \"native\"\n\
                    hash_seed = \"tests have no secrets\"\n"
        .to_owned();
    for line in &settings.daemon {
        text.push_str(line);
        text.push('\n');
    }
    for (name, family) in services(settings.families.all()) {
        service(&mut text, settings, revision, &name, family);
    }
    text
}

fn service(
    text: &mut String,
    settings: &Settings,
    revision: &Revision,
    name: &str,
    family: Family,
) {
    let (vip, forward) = (address::service(family, 1), &settings.forward);
    let is_tcp = name.starts_with("tcp");
    let protocol = if is_tcp { "tcp" } else { "udp" };
    let own = if is_tcp { &settings.tcp_service } else { &settings.udp_service };
    // A revision is a configuration of its own that asks for the same traffic.
    let grace = settings.grace.as_millis() + u128::from(revision.number);
    let mut say = |line: &dyn std::fmt::Display| {
        writeln!(text, "{line}").expect("a string takes everything");
    };
    say(&"[[service]]");
    say(&format_args!("name = \"{name}\"\nvip = \"{vip}\"\nport = {PORT}"));
    say(&format_args!("protocol = \"{protocol}\"\nforward = \"{forward}\""));
    say(&format_args!("flow_grace = \"{grace}ms\""));
    if !is_tcp && forward != "nat" {
        say(&"udp_flows = \"remember\"");
    }
    own.iter().for_each(|line| say(line));
    let checks = settings.checks;
    let interval = checks.interval.as_millis();
    say(&format_args!(
        "[service.health_check]\ntype = \"tcp\"\nport = {CHECK_PORT}\nvia = \"direct\""
    ));
    say(&format_args!("interval = \"{interval}ms\"\ntimeout = \"{interval}ms\""));
    say(&format_args!("rise = {}\nfall = {}", checks.rise, checks.fall));
    for number in 1..=settings.backends {
        let address = address::backend(family, number);
        say(&format_args!("[[service.backend]]\naddress = \"{address}\""));
        if let Some(weight) = revision.weights.get(&Backend(number)) {
            say(&format_args!("weight = {weight}"));
        }
    }
}
