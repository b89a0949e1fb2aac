//! Flows that are over, because their backend is gone.

use super::*;
use crate::backend::Stance;

const RST: u8 = 4;

fn resetting(backend: usize) -> HostTables {
    let tables = serving(DISPUTED);
    tables.backends[backend].set_stance(Stance::Resets);
    tables
}

/// Flags, sequence and destination port of the segment that a frame came to.
fn answered(tables: &HostTables, bytes: &[u8]) -> (Verdict, u8, u32, u16) {
    let mut frame = HostFrame::new(bytes);
    let verdict = balance(&mut frame, tables);
    let tcp = &frame.bytes()[34..];
    let sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
    (verdict, tcp[13], sequence, u16::from_be_bytes([tcp[2], tcp[3]]))
}

#[test]
fn old_flows_of_a_backend_that_is_gone_are_reset_and_new_ones_go_on() {
    let tables = resetting(1);
    let mut old = tcp_frame(4000, ACK);
    old[14 + 20 + 8..14 + 20 + 12].copy_from_slice(&0x0102_0304_u32.to_be_bytes());
    for _ in 0..2 {
        let expected = (Verdict::FlowOverTold, RST, 0x0102_0304, 4000);
        assert_eq!(answered(&tables, &old), expected);
    }
    assert_eq!(backend_of(&tables, &tcp_frame(4000, SYN)), 2);
    assert_eq!(backend_of(&tables, &tcp_frame(4000, ACK)), 2);
    assert_eq!(tables.flows.iter().flat_map(FlowSet::iter).count(), 1, "only what goes on");
}

#[test]
fn remembered_flows_of_a_backend_that_is_gone_are_reset() {
    let tables = serving(DISPUTED);
    assert_eq!(backend_of(&tables, &tcp_frame(1, SYN)), 2);
    tables.backends[2].set_stance(Stance::Resets);
    assert_eq!(answered(&tables, &tcp_frame(1, ACK)).0, Verdict::FlowOverTold);
    assert_eq!(backend_of(&tables, &tcp_frame(2, ACK)), 1);
}

/// What the cache has no room for goes by the slot: it must not be taken for old, and reset.
#[test]
fn where_nothing_can_be_remembered_nobody_is_reset() {
    let mut tables = resetting(1);
    tables.settings.inserts_per_tick = 0;
    for flags in [SYN, ACK, ACK] {
        assert_eq!(backend_of(&tables, &tcp_frame(9, flags)), 2, "{flags}");
    }
    let mut tables = resetting(1);
    tables.flows = vec![FlowSet::default()];
    tables.settings.flow_mask = 0;
    (1..=4).for_each(|port| assert_eq!(backend_of(&tables, &tcp_frame(port, SYN)), 2));
    for flags in [SYN, ACK, ACK] {
        assert_eq!(backend_of(&tables, &tcp_frame(9, flags)), 2, "{flags}");
    }
}

/// Another balancer may have let it begin: the backend tells.
#[test]
fn by_gue_the_current_backend_is_asked() {
    let mut tables = resetting(1);
    for id in [1, 2] {
        let backend = testing::backend(Forward::Gue, "10.1.0.1", "10.1.255.1").at_port(6080);
        backend.set_next_hop(next_hop());
        tables.backends[id] = backend;
    }
    tables.backends[1].set_stance(Stance::Resets);
    assert_eq!(backend_of(&tables, &tcp_frame(9, ACK)), 2);
}

#[test]
fn a_reset_is_not_answered_by_another() {
    assert_eq!(run(&resetting(1), &tcp_frame(1, RST)), Verdict::FlowOver);
}

#[test]
fn resets_are_limited() {
    let mut tables = resetting(1);
    tables.settings.replies_per_tick = 4;
    let told = |port| run(&tables, &tcp_frame(port, ACK)) == Verdict::FlowOverTold;
    assert_eq!((1..=10).filter(|port| told(*port)).count(), 2);
    assert_eq!(run(&tables, &tcp_frame(11, ACK)), Verdict::ReplyLimited);
}

#[test]
fn a_backend_that_keeps_its_flows_still_gets_them() {
    let tables = serving(DISPUTED);
    tables.backends[1].set_stance(Stance::Keeps);
    assert_eq!(backend_of(&tables, &tcp_frame(1, ACK)), 1);
    assert_eq!(tables.backends[1].service(), 0, "the stance is beside the service");
}
