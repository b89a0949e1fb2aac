//! Metrics of services and their registries.

use std::fmt;

use lb_common::Counters;

use super::number;
use crate::metrics::{ScalingReport, ServiceReport, SourceReport, families::Families};

pub(super) fn encode(to: &mut Families, services: &[ServiceReport]) -> fmt::Result {
    let name = |service: &ServiceReport| [("service", service.name.clone())];
    // Answers of the backends do not pass through the balancer.
    let traffic = |count: fn(&Counters) -> u64| {
        services.iter().map(move |service| {
            let labels = [
                ("service", service.name.as_str()),
                ("proto", service.protocol),
                ("family", service.family),
                ("direction", "in"),
            ];
            (labels, count(&service.counters))
        })
    };
    to.counters("lb_service_packets", "Packets sent on to backends.", traffic(|c| c.packets))?;
    to.counters(
        "lb_service_bytes",
        "Bytes of those packets from the client's IP header on, without tunnel headers.",
        traffic(|c| c.bytes),
    )?;
    to.counters(
        "lb_service_new_flows",
        "TCP packets that begin a flow, sent on to backends.",
        traffic(|c| c.new_flows),
    )?;
    to.gauges(
        "lb_service_backends",
        "Backends of the service, whatever their state.",
        services.iter().map(|service| (name(service), service.backends)),
    )?;
    to.gauges(
        "lb_service_up",
        "Whether a backend of the service takes new flows.",
        services.iter().map(|service| (name(service), number(service.up))),
    )?;
    to.gauges(
        "lb_service_quorum",
        "Whether enough backends of the service are well.",
        services.iter().map(|service| (name(service), number(service.quorum))),
    )?;
    to.gauges(
        "lb_service_panic",
        "Whether backends that are not well get traffic, since too few are.",
        services.iter().map(|service| (name(service), number(service.panic))),
    )?;
    to.gauges(
        "lb_service_backup_active",
        "Whether backends serve that stand by for others.",
        services.iter().map(|service| (name(service), number(service.backup_active))),
    )?;
    encode_scaling(to, services)
}

fn encode_scaling(to: &mut Families, services: &[ServiceReport]) -> fmt::Result {
    let scaled =
        || services.iter().filter_map(|service| Some((service.name.as_str(), service.scaling?)));
    let number = |pick: fn(&ScalingReport) -> u32| {
        scaled().map(move |(name, scaling)| ([("service", name)], pick(&scaling)))
    };
    to.gauges(
        "lb_service_demand_backends",
        "Backends of weight 100 for the load of now.",
        number(|scaling| scaling.demand),
    )?;
    to.gauges(
        "lb_service_predicted_backends",
        "Backends of weight 100 for the load at the horizon.",
        number(|scaling| scaling.predicted),
    )?;
    to.gauges(
        "lb_service_desired_backends",
        "Backends of weight 100 to ask for.",
        number(|scaling| scaling.desired),
    )?;
    to.gauges(
        "lb_service_load_ratio",
        "The service's load over what the backends that serve carry.",
        scaled().filter_map(|(name, scaling)| Some(([("service", name)], scaling.load_ratio?))),
    )
}

pub(super) fn encode_sources(to: &mut Families, sources: &[SourceReport]) -> fmt::Result {
    let by_service = || sources.iter().map(|source| ([("service", &source.service)], source));
    to.gauges(
        "lb_source_up",
        "Whether the service's registry answers, and what it says is good.",
        by_service().map(|(labels, source)| (labels, number(source.up))),
    )?;
    to.gauges(
        "lb_source_age_seconds",
        "For how long the registry's list in force has not been known to be true.",
        by_service().map(|(labels, source)| (labels, source.age_seconds)),
    )?;
    let updates = sources.iter().flat_map(|source| {
        [("ok", source.updates_ok), ("failed", source.updates_failed)].map(|(result, count)| {
            ([("service", source.service.as_str()), ("result", result)], count)
        })
    });
    to.counters(
        "lb_source_updates",
        "Answers of the registry that were taken over; outages and answers that were refused.",
        updates,
    )
}
