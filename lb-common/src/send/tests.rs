//! Ways that name another backend.

use super::*;
use crate::{
    backend::NextHop,
    host::HostTables,
    service::TCP,
    testing::{self, frame, tcp},
};

const OUTER: [&str; 2] = ["10.1.0.1", "fd00:1::1"];
const OTHERS: [&str; 2] = ["10.1.0.2", "fd00:1::2"];
const SOURCES: [&str; 2] = ["10.1.255.1", "fd00:1::ff"];
/// Bytes of the outer headers and of the mark.
const OVERHEAD: [u32; 2] = [32, 52];
const MARK: [u32; 2] = [8, 20];

/// Tables with a backend 1 and another backend 2.
fn tables(one: Backend, other: Backend) -> HostTables {
    HostTables { backends: vec![Backend::default(), one, other], ..testing::tables() }
}

fn gue(address: &str, source: &str) -> Backend {
    testing::backend(Forward::Gue, address, source).at_port(6080)
}

fn packet(length: u32) -> Packet {
    let bytes = frame("198.51.100.7", "10.200.0.1", TCP, &tcp(1, 2, testing::ACK));
    let mut packet = testing::seen(&bytes).expect("a packet").packet;
    packet.length = length;
    packet
}

#[test]
fn a_packet_has_to_fit_with_its_mark() {
    for outer in [0, 1] {
        let tables = tables(gue(OUTER[outer], SOURCES[outer]), gue(OTHERS[outer], SOURCES[outer]));
        let way = |length, other| {
            let way = Way::common(&tables, &packet(length), 1).expect("it fits without a mark");
            way.or(&tables, &packet(length), other)
        };
        let largest = 1500 - OVERHEAD[outer] - MARK[outer];
        assert!(way(largest, 2).is_ok_and(|way| way.other.is_some()));
        let told = match way(largest + 1, 2) {
            Err(Obstacle::TooBig(mtu)) => u32::from(mtu),
            _ => panic!("{outer}: it is too big"),
        };
        assert_eq!(told, largest);
        assert!(way(1500 - OVERHEAD[outer], 0).is_ok_and(|way| way.other.is_none()));
    }
}

#[test]
fn only_another_machine_that_the_tunnel_reaches_is_named() {
    let here = gue(OTHERS[0], SOURCES[0]);
    here.set_next_hop(NextHop { interface: HERE, ..testing::next_hop() });
    let by_ipip = testing::backend(Forward::Ipip, OTHERS[0], SOURCES[0]);
    for other in [here, by_ipip, gue(OTHERS[1], SOURCES[1]), Backend::default()] {
        let tables = tables(gue(OUTER[0], SOURCES[0]), other);
        let way = Way::common(&tables, &packet(100), 1).expect("a way");
        assert!(way.or(&tables, &packet(100), 2).is_ok_and(|way| way.other.is_none()));
    }
    let by_ipip = testing::backend(Forward::Ipip, OUTER[0], SOURCES[0]);
    let tables = tables(by_ipip, gue(OTHERS[0], SOURCES[0]));
    let way = Way::common(&tables, &packet(100), 1).expect("a way");
    assert!(way.or(&tables, &packet(100), 2).is_ok_and(|way| way.other.is_none()));
}

/// Another backend whose own way is not known can still be given a packet.
#[test]
fn the_other_backend_needs_no_way_from_here() {
    let unreached = gue(OTHERS[0], SOURCES[0]);
    unreached.set_next_hop(NextHop::default());
    let tables = tables(gue(OUTER[0], SOURCES[0]), unreached);
    let way = Way::common(&tables, &packet(100), 1).expect("a way");
    assert!(way.or(&tables, &packet(100), 2).is_ok_and(|way| way.other.is_some()));
}
