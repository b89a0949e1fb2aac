//! Packets that name their server.

use std::collections::BTreeMap;

use lb_common::{policy::ServerIdLayout, service::UDP};
use lb_tests::packets::{Shape, fixture::key, quic};
use lb_userspace::datapath::{desired::Flows, policies::DesiredUdp};

use super::{
    DesiredPolicy, DesiredService, FIRST, Kind, SECOND, Site, THIRD, leaving, service, with,
};

/// Connection identifiers of eight bytes, of which the second to fifth are the server's.
const LAYOUT: ServerIdLayout = ServerIdLayout { offset: 1, length: 4 };
const IDS: [(Kind, u64); 2] = [(FIRST, 0x0a0b_0c0d), (SECOND, 0xffff_ffff)];

fn quic_service() -> DesiredService {
    let servers: BTreeMap<_, _> =
        IDS.iter().map(|(kind, id)| (kind.backend().into(), *id)).collect();
    let udp = DesiredUdp::Quic { layout: LAYOUT, servers };
    let policy = DesiredPolicy { udp, ..DesiredPolicy::default() };
    with(policy, service(key("10.200.0.1", 443, UDP), &[FIRST, SECOND, THIRD]))
}

fn connection(id: u64) -> [u8; 8] {
    let [a, b, c, d] = (id as u32).to_be_bytes();
    [0x17, a, b, c, d, 1, 2, 3]
}

fn packet(client_port: u16, payload: Vec<u8>) -> Shape {
    Shape { payload, ..Shape::udp(&format!("198.51.100.7:{client_port}"), "10.200.0.1:443") }
}

/// Where a flow goes by its hash.
fn by_hash(site: &mut Site, client_port: u16) -> Kind {
    site.fate_of(&packet(client_port, vec![0; 4])).expect("a backend")
}

#[test]
fn a_connection_keeps_its_server_from_any_address_with_either_header() {
    let mut site = Site::new(&[quic_service()]);
    for (server, id) in IDS {
        for port in 1..40 {
            let short = packet(port, quic::short(&connection(id)));
            assert_eq!(site.fate_of(&short), Ok(server), "{port}");
            let long = packet(port, quic::long(&connection(id), &[9; 8]));
            assert_eq!(site.fate_of(&long), Ok(server), "{port}");
        }
    }
}

#[test]
fn what_names_nobody_goes_by_its_hash() {
    let mut site = Site::new(&[quic_service()]);
    let mut seen = Vec::new();
    for port in 1..40 {
        let expected = by_hash(&mut site, port);
        seen.push(expected);
        for payload in [
            quic::short(&connection(0x0a0b_0c0e)),
            quic::long(&connection(0x0a0b_0c0e), &[]),
            // Shorter than the layout, as clients choose their first.
            quic::long(&connection(0x0a0b_0c0d)[..4], &[9; 8]),
            quic::long(&[], &[9; 8]),
            vec![0x40],
            vec![],
        ] {
            assert_eq!(site.fate_of(&packet(port, payload.clone())), Ok(expected), "{payload:?}");
        }
    }
    assert!([FIRST, SECOND, THIRD].iter().all(|kind| seen.contains(kind)), "{seen:?}");
}

#[test]
fn a_server_that_drains_keeps_its_connections_and_one_that_is_down_does_not() {
    let mut site = Site::new(&[quic_service()]);
    let (server, id) = IDS[0];
    let short = packet(7, quic::short(&connection(id)));
    for (flows, is_kept) in [(Flows::Keep, true), (Flows::Leave, false)] {
        let mut service = quic_service();
        service.members[0] = leaving(server, flows);
        site.change(&[service]);
        assert_eq!(site.fate_of(&short) == Ok(server), is_kept, "{flows:?}");
        assert_ne!(by_hash(&mut site, 7), server);
    }
    site.change(&[quic_service()]);
    assert_eq!(site.fate_of(&short), Ok(server));
}

#[test]
fn an_identifier_is_that_of_one_service() {
    let other = DesiredService {
        key: key("10.200.0.1", 444, UDP),
        members: service(key("10.200.0.1", 444, UDP), &[THIRD, SECOND]).members,
        ..quic_service()
    };
    let mut site = Site::new(&[quic_service(), other]);
    for port in 1..20 {
        let mut short = packet(port, quic::short(&connection(IDS[0].1)));
        assert_eq!(site.fate_of(&short), Ok(FIRST));
        short.vip.set_port(444);
        assert_ne!(site.fate_of(&short), Ok(FIRST), "it is none of this service's backends");
    }
}
