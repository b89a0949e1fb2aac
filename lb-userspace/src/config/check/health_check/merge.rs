//! A backend's own keys over those of its service.

use crate::config::raw::HealthCheck;

/// Each key of `own` in place of that of `service`. Of a check of another type only the
/// timing is taken over.
pub(super) fn merge(own: HealthCheck, service: HealthCheck) -> HealthCheck {
    let word = |check: &HealthCheck| check.kind.as_ref().map(|kind| kind.get_ref().clone());
    let is_same = own.kind.is_none() || word(&own) == word(&service);
    let base = if is_same { without_rivals(service, &own) } else { common(service) };
    HealthCheck {
        kind: own.kind.or(base.kind),
        port: own.port.or(base.port),
        address: own.address.or(base.address),
        source: own.source.or(base.source),
        via: own.via.or(base.via),
        interval: own.interval.or(base.interval),
        fast_interval: own.fast_interval.or(base.fast_interval),
        down_interval: own.down_interval.or(base.down_interval),
        timeout: own.timeout.or(base.timeout),
        jitter: own.jitter.or(base.jitter),
        rise: own.rise.or(base.rise),
        fall: own.fall.or(base.fall),
        initial: own.initial.or(base.initial),
        send: own.send.or(base.send),
        send_hex: own.send_hex.or(base.send_hex),
        expect: own.expect.or(base.expect),
        expect_hex: own.expect_hex.or(base.expect_hex),
        method: own.method.or(base.method),
        path: own.path.or(base.path),
        host: own.host.or(base.host),
        headers: own.headers.or(base.headers),
        status: own.status.or(base.status),
        body: own.body.or(base.body),
        http: own.http.or(base.http),
        tls: own.tls.or(base.tls),
        verify: own.verify.or(base.verify),
        ca_file: own.ca_file.or(base.ca_file),
        server_name: own.server_name.or(base.server_name),
        certificate_days: own.certificate_days.or(base.certificate_days),
        grpc_service: own.grpc_service.or(base.grpc_service),
        query: own.query.or(base.query),
        record: own.record.or(base.record),
        answer: own.answer.or(base.answer),
        transport: own.transport.or(base.transport),
        command: own.command.or(base.command),
        weight_from_exit: own.weight_from_exit.or(base.weight_from_exit),
    }
}

/// What a check of another type takes over. Addresses and ports do not come along: another type asks
/// another server.
fn common(service: HealthCheck) -> HealthCheck {
    HealthCheck {
        interval: service.interval,
        fast_interval: service.fast_interval,
        down_interval: service.down_interval,
        timeout: service.timeout,
        jitter: service.jitter,
        rise: service.rise,
        fall: service.fall,
        initial: service.initial,
        ..HealthCheck::default()
    }
}

/// The service's keys without those that say in another way what the backend's say.
fn without_rivals(mut service: HealthCheck, own: &HealthCheck) -> HealthCheck {
    if own.send.is_some() || own.send_hex.is_some() {
        (service.send, service.send_hex) = (None, None);
    }
    if own.expect.is_some() || own.expect_hex.is_some() {
        (service.expect, service.expect_hex) = (None, None);
    }
    if own.via.is_some() || own.address.is_some() {
        (service.via, service.address) = (None, None);
    }
    // Who takes any certificate asks nobody whom to trust.
    if own.verify.as_ref().is_some_and(|verify| !*verify.get_ref()) {
        service.ca_file = None;
    }
    service
}
