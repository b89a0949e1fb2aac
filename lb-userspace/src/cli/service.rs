//! `lbctl service …`

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{
    Context, Format, backend, output,
    policy::{self, PolicyArguments, quote},
    unexpected,
};
use crate::{
    api::{
        difference::MovementItem,
        protocol::{
            Answer, Failure, FlowRulesItem, Request, ScalingItem, ServiceItem, Services,
            StandingItem,
        },
    },
    model::{Ports, ServiceName, Vip},
};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// All services.
    List,
    /// One service with its backends.
    Show {
        /// Its name.
        name: ServiceName,
    },
    /// A new service; it survives restarts.
    Add(Box<New>),
    /// Removes a service; one of the configuration stays removed until `reset`.
    Remove {
        /// Its name.
        name: ServiceName,
    },
    /// Forgets all that was said of a service and its backends: it is as the configuration says.
    Reset {
        /// Its name.
        name: ServiceName,
    },
}

/// A new service. The words are those of the configuration file.
#[derive(Args, Debug)]
pub(super) struct New {
    /// Its name.
    name: ServiceName,
    /// Address or prefix that clients reach.
    #[arg(long)]
    vip: Vip,
    /// Port that clients reach, or a range as in 1000-1999; 0 is every port.
    #[arg(long)]
    port: Ports,
    /// tcp or udp.
    #[arg(long, default_value = "tcp")]
    protocol: String,
    /// How packets get to the backends: l2, ipip, gue or nat.
    #[arg(long)]
    forward: String,
    #[command(flatten)]
    policy: PolicyArguments,
    /// How new flows find their backend, as in docs/schedulers.md.
    #[arg(long, default_value = "consistent-hash")]
    scheduler: String,
    /// With source-hash: time without a new flow after which a client is forgotten.
    #[arg(long, value_name = "DURATION")]
    affinity_timeout: Option<String>,
    /// With source-hash: leading bits of a client's address that count.
    #[arg(long, value_name = "BITS")]
    affinity_prefix: Option<u8>,
    /// Slots of its table, a power of two.
    #[arg(long, value_name = "N")]
    table_slots: Option<u32>,
    /// Check backends: tcp, http, https, tls, udp, dns, icmp, with what is usual for that.
    #[arg(long, value_name = "TYPE")]
    check: Option<String>,
    /// Port that is checked, if it is not the service's.
    #[arg(long, requires = "check", value_name = "PORT")]
    check_port: Option<u16>,
    /// Time between two checks.
    #[arg(long, requires = "check", value_name = "DURATION")]
    interval: Option<String>,
    /// Longest time that an answer may take.
    #[arg(long, requires = "check", value_name = "DURATION")]
    timeout: Option<String>,
    /// Checks in a row that bring a backend up.
    #[arg(long, requires = "check", value_name = "N")]
    rise: Option<u32>,
    /// Checks in a row that take a backend down.
    #[arg(long, requires = "check", value_name = "N")]
    fall: Option<u32>,
}

pub(super) fn run(context: &Context, verb: Verb) -> Result<ExitCode, Failure> {
    let request = match verb {
        Verb::List => Request::Services,
        Verb::Show { name } => Request::Service { name },
        Verb::Add(new) => Request::AddService { text: new.text() },
        Verb::Remove { name } => Request::RemoveService { name },
        Verb::Reset { name } => Request::ResetService { name },
    };
    let is_one = matches!(request, Request::Service { .. });
    match context.ask(&request)? {
        Answer::Done(message) => output::done(context.format, &message),
        Answer::Services(services) if context.format == Format::Json => output::json(&services),
        Answer::Services(services) if is_one => services.services.iter().for_each(show),
        Answer::Services(services) => list(&services),
        other => return Err(unexpected(&other)),
    }
    Ok(ExitCode::SUCCESS)
}

impl New {
    /// The service as text of the configuration, which the daemon checks like a file.
    fn text(&self) -> String {
        let mut lines = vec![
            format!("name = {}", quote(&self.name.to_string())),
            format!("vip = \"{}\"", self.vip),
            match self.port {
                Ports::Range(..) => format!("port = {}", quote(&self.port.to_string())),
                Ports::Exact(_) | Ports::Every => format!("port = {}", self.port.first()),
            },
            format!("protocol = {}", quote(&self.protocol)),
            format!("forward = {}", quote(&self.forward)),
            format!("scheduler = {}", quote(&self.scheduler)),
        ];
        lines.extend(self.affinity());
        lines.extend(self.table_slots.map(|slots| format!("table_slots = {slots}")));
        lines.extend(self.policy.lines());
        if let Some(kind) = &self.check {
            lines.push("[health_check]".to_owned());
            lines.push(format!("type = {}", quote(kind)));
            lines.extend(self.check_port.map(|port| format!("port = {port}")));
            let text = |key, value: &Option<String>| {
                value.as_ref().map(|value| format!("{key} = {}", quote(value)))
            };
            lines.extend(text("interval", &self.interval));
            lines.extend(text("timeout", &self.timeout));
            lines.extend(self.rise.map(|rise| format!("rise = {rise}")));
            lines.extend(self.fall.map(|fall| format!("fall = {fall}")));
        }
        lines.join("\n") + "\n"
    }

    fn affinity(&self) -> Option<String> {
        let family = if self.vip.is_ipv6() { "ipv6_prefix" } else { "ipv4_prefix" };
        let prefix = self.affinity_prefix.map(|prefix| format!("{family} = {prefix}"));
        let timeout = self.affinity_timeout.as_deref();
        let timeout = timeout.map(|timeout| format!("timeout = {}", quote(timeout)));
        let said: Vec<String> = prefix.into_iter().chain(timeout).collect();
        (!said.is_empty()).then(|| format!("affinity = {{ {} }}", said.join(", ")))
    }
}

fn standing(standing: &StandingItem) -> String {
    let StandingItem { serving, quorum, panic, well, meant } = standing;
    let turn = match serving {
        Some(0) => String::new(),
        Some(priority) => format!(", priority {priority} serves"),
        None => ", nobody serves".to_owned(),
    };
    let quorum = if *quorum { "" } else { ", no quorum" };
    let panic = if *panic { ", panic: all serve" } else { "" };
    format!("{well} of {meant} well{turn}{quorum}{panic}")
}

fn list(services: &Services) {
    let row = |service: &ServiceItem| {
        vec![
            service.name.to_string(),
            address(service),
            service.protocol.to_string(),
            service.forward.clone(),
            format!("{}/{}", service.backends_up, service.backends),
            output::short(service.packets),
            output::short(service.bytes),
            output::short(service.new_flows),
        ]
    };
    let header = ["SERVICE", "ADDRESS", "PROTOCOL", "FORWARD", "UP", "PACKETS", "BYTES", "FLOWS"];
    output::table(&header, &[4, 5, 6, 7], services.services.iter().map(row).collect());
}

fn show(service: &ServiceItem) {
    let fact = |name: &str, text: String| output::line(&format!("{name:<11}{text}"));
    fact("service", service.name.to_string());
    fact("address", format!("{} {}", address(service), service.protocol));
    fact("forward", service.forward.clone());
    fact("scheduler", scheduler(service));
    policy::facts(&service.policy).iter().for_each(|(name, text)| fact(name, text.clone()));
    let fullest = service
        .fullest_share
        .map(|share| format!(", the fullest backend has {share:.3} of its share"))
        .unwrap_or_default();
    let disputed = match service.disputed_slots {
        0 => String::new(),
        slots => format!(", {slots} keep flows of the backend before"),
    };
    let FlowRulesItem { on_drain, on_down, on_remove } = &service.flow_rules;
    fact("flows", format!("on drain: {on_drain}; on down: {on_down}; on remove: {on_remove}"));
    for backend in &service.departed {
        let left = backend.seconds_left.map(output::span).unwrap_or_default();
        fact("removed", format!("{}, its flows are {} for {left}", backend.address, backend.flows));
    }
    fact("standing", standing(&service.standing));
    fact("slots", format!("{}{fullest}{disputed}", service.slots));
    if let Some(MovementItem { slots, moved, least }) = service.last_movement {
        let text = format!("moved {moved} of {slots} slots; the least was {least}");
        fact("change", text);
    }
    let traffic = format!(
        "{} packets, {} bytes, {} new flows",
        service.packets, service.bytes, service.new_flows
    );
    fact("traffic", traffic);
    if let Some(scaling) = &service.scaling {
        let ScalingItem { desired, demand, predicted, evidence, .. } = scaling;
        let text = format!("{desired} backends ({demand} now, {predicted} soon): {evidence}");
        fact("asks for", text);
    }
    if !service.members.is_empty() {
        output::line("");
        backend::list(&service.members);
    }
}

/// The scheduler's word, and how far clients' addresses count.
fn scheduler(service: &ServiceItem) -> String {
    let affinity = service.affinity.map_or_else(String::new, |affinity| {
        let timeout = affinity.timeout_seconds.map_or_else(String::new, |seconds| {
            format!(", clients remembered for {}", output::span(seconds))
        });
        format!(", by /{}{timeout}", affinity.prefix)
    });
    format!("{}{affinity}", service.scheduler)
}

/// Address and ports as people write them; every port is a star.
fn address(service: &ServiceItem) -> String {
    let ports = match service.last_port {
        Some(last) => Ports::Range(service.port, last),
        None => Ports::one(service.port),
    };
    let vip = service.vip;
    if vip.is_ipv6() { format!("[{vip}]:{ports}") } else { format!("{vip}:{ports}") }
}
