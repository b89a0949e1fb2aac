//! What first answers tell of backends that are watched.

use super::*;

/// The services of [`super::serving`], whose backends are watched.
fn watched() -> HostTables {
    let mut tables = serving(IPV4, 100);
    let mut policy = tables.policies[1];
    policy.flags |= flag::WATCHED;
    under(&mut tables, 1, policy);
    tables
}

/// Answers counted by SYN and ACK, those of them whose time is known, and the sum of their times.
fn handshakes(tables: &HostTables) -> [u64; 3] {
    let signals = &tables.signals[1];
    [&signals.syn_acks, &signals.handshakes, &signals.handshake_micros].map(std::cell::Cell::get)
}

#[test]
fn a_handshake_takes_the_time_from_its_syn() {
    let mut tables = watched();
    for (client, micros) in [(4000, 3_000), (4001, 160)] {
        let port = begun(&tables, IPV4, client);
        tables.nanoseconds += micros * 1000;
        let [.., before] = handshakes(&tables);
        sent(&tables, &answered(IPV4, TCP, &tcp(OTHER, port, SYN | ACK)));
        let [_, _, after] = handshakes(&tables);
        assert!((after - before).abs_diff(micros) <= 17, "{} of {micros}", after - before);
    }
    assert_eq!(handshakes(&tables)[..2], [2, 2]);
}

#[test]
fn times_that_are_not_certain_are_not_taken() {
    let mut tables = watched();
    let late = begun(&tables, IPV4, 4000);
    tables.now += 2;
    sent(&tables, &answered(IPV4, TCP, &tcp(OTHER, late, SYN | ACK)));
    assert_eq!(handshakes(&tables), [1, 0, 0]);
    let twice = begun(&tables, IPV4, 4001);
    assert_eq!(begun(&tables, IPV4, 4001), twice);
    sent(&tables, &answered(IPV4, TCP, &tcp(OTHER, twice, SYN | ACK)));
    assert_eq!((handshakes(&tables), tables.signals[1].repeats.get()), ([2, 0, 0], 1));
}

/// Whoever is not looked at stays on the short way from its first answer on.
#[test]
fn only_the_first_answer_of_a_watched_flow_is_looked_at() {
    for (tables, is_timed) in [(watched(), true), (serving(IPV4, 100), false)] {
        let port = begun(&tables, IPV4, 4000);
        let timed = |tables: &HostTables| {
            tables.translations.all().iter().any(|(_, entry)| entry.state() & state::TIMED != 0)
        };
        assert_eq!(timed(&tables), is_timed);
        sent(&tables, &answered(IPV4, TCP, &tcp(OTHER, port, SYN | ACK)));
        assert!(!timed(&tables));
    }
    let tables = watched();
    sent(&tables, &asked(IPV4, UDP, &udp(4000, 53, b"")));
    let is_timed = |(_, entry): &(Tuple, Translation)| entry.state() & state::TIMED != 0;
    assert!(!tables.translations.all().iter().any(is_timed), "datagrams have no handshake");
}
