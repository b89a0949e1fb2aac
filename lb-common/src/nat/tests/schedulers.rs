//! Translated flows under a scheduler, and of backends that are gone.

use super::*;
use crate::{backend::Stance, policy::Scheduler};

/// The services of [`super::serving`], whose scheduler chooses from backends 1 and 2.
fn scheduled(scheduler: Scheduler) -> HostTables {
    let mut tables = serving(IPV4, 100);
    let mut policy = tables.policies[1];
    policy.scheduler = scheduler as u16;
    policy.list = 48;
    policy.listed = if scheduler.compares() { 2 } else { 1 };
    under(&mut tables, 1, policy);
    for (index, current) in [(0, 1), (1, 2)] {
        tables.slots[3].set(index, Slot { current, previous: 1 });
    }
    tables
}

/// The backend of the flow that shows this port.
fn backend(tables: &HostTables, port: u16) -> u16 {
    let flows = tables.translations.all();
    let found = flows.iter().find(|(_, entry)| entry.tuple.ports as u16 == port);
    found.expect("a flow").1.backend
}

#[test]
fn turns_follow_the_list_and_flows_stay() {
    let tables = scheduled(Scheduler::Rotate);
    let ports: Vec<u16> = (4000..4004).map(|port| begun(&tables, IPV4, port)).collect();
    assert_eq!(ports.iter().map(|port| backend(&tables, *port)).collect::<Vec<_>>(), [1, 2, 1, 2]);
    for (client, port) in (4000..).zip(&ports) {
        let request = sent(&tables, &asked(IPV4, TCP, &tcp(client, 80, ACK)));
        assert_eq!(source_port(&request), *port);
    }
    assert_eq!(tables.flows.iter().flat_map(crate::FlowSet::iter).count(), 0, "no other memory");
}

#[test]
fn a_flow_counts_until_its_client_ends_it() {
    let tables = scheduled(Scheduler::LeastFlows);
    let flows = || [1, 2].map(|id| tables.loads[id].flows());
    for port in 4000..4010 {
        begun(&tables, IPV4, port);
    }
    assert_eq!(flows(), [5, 5]);
    for port in 4000..4010 {
        for flags in [ACK, FIN | ACK, ACK, RST] {
            sent(&tables, &asked(IPV4, TCP, &tcp(port, 80, flags)));
        }
    }
    assert_eq!(flows(), [0, 0]);
}

#[test]
fn the_first_answer_tells_how_long_a_backend_takes() {
    let mut tables = scheduled(Scheduler::LeastTime);
    let port = begun(&tables, IPV4, 4000);
    let of_backend = usize::from(backend(&tables, port));
    tables.nanoseconds += 3_000_000;
    let answer = |flags| answered(IPV4, TCP, &tcp(OTHER, port, flags));
    sent(&tables, &answer(SYN | ACK));
    let latency = tables.loads[of_backend].latency();
    assert!((2970..=3010).contains(&latency), "{latency} microseconds");
    tables.nanoseconds += 500_000_000;
    sent(&tables, &answer(ACK));
    assert_eq!(tables.loads[of_backend].latency(), latency, "only the first");
    let other = backend(&tables, begun(&tables, IPV4, 4001));
    assert_ne!(usize::from(other), of_backend, "of the other nothing bad is known");
}

#[test]
fn late_answers_count_as_such_and_refusals_not_at_all() {
    let mut tables = scheduled(Scheduler::LeastTime);
    let late = begun(&tables, IPV4, 4000);
    let of_late = usize::from(backend(&tables, late));
    tables.nanoseconds += 1_080_000_000;
    tables.now += 2;
    sent(&tables, &answered(IPV4, TCP, &tcp(OTHER, late, SYN | ACK)));
    assert!(tables.loads[of_late].latency() > 1_000_000, "{}", tables.loads[of_late].latency());
    let refused = begun(&tables, IPV4, 4001);
    let of_refused = usize::from(backend(&tables, refused));
    assert_ne!(of_refused, of_late);
    sent(&tables, &answered(IPV4, TCP, &tcp(OTHER, refused, RST | ACK)));
    assert_eq!(tables.loads[of_refused].latency(), 0);
}

#[test]
fn a_syn_finds_another_backend_than_one_that_takes_no_new_flows() {
    for (stance, is_open) in
        [(Stance::Keeps, true), (Stance::Resets, true), (Stance::Resets, false)]
    {
        let tables = scheduled(Scheduler::Rotate);
        let port = begun(&tables, IPV4, 4000);
        assert_eq!(backend(&tables, port), 1);
        if is_open {
            sent(&tables, &asked(IPV4, TCP, &tcp(4000, 80, ACK)));
        }
        tables.backends[1].set_stance(stance);
        assert_eq!(backend(&tables, begun(&tables, IPV4, 4000)), 2, "{stance:?}");
    }
    // One that comes again is no other connection.
    let tables = scheduled(Scheduler::Rotate);
    begun(&tables, IPV4, 4000);
    tables.backends[1].set_stance(Stance::Keeps);
    assert_eq!(backend(&tables, begun(&tables, IPV4, 4000)), 1);
}

#[test]
fn flows_of_a_backend_that_is_gone_are_reset() {
    let tables = serving(IPV4, 100);
    begun(&tables, IPV4, 4000);
    tables.backends[1].set_stance(Stance::Resets);
    let (verdict, bytes) = run(&tables, &asked(IPV4, TCP, &tcp(4000, 80, ACK)));
    assert_eq!((verdict, bytes[34 + 13]), (Verdict::FlowOverTold, RST));
    assert_eq!(source_port(&bytes), 80);
}
