//! What is left of flows that are over, while no daemon removes it.

use super::*;

/// Lets so many seconds pass, as tables count them.
fn wait(tables: &mut HostTables, seconds: u32) {
    let tick = flow::tick(tables.settings.hz);
    tables.now += (seconds * tables.settings.hz).div_ceil(1 << tick) as u16;
}

fn syn(port: u16) -> Vec<u8> {
    asked(IPV4, TCP, &tcp(port, 80, SYN))
}

/// Clients' ports of the flows that the table holds in full, in order.
fn clients(tables: &HostTables) -> Vec<u16> {
    let all = tables.translations.all();
    let requests = all.iter().filter(|(tuple, _)| !tuple.is_answer());
    let whole = requests.filter(|(tuple, entry)| partner(tables, tuple, entry).is_some());
    let mut ports: Vec<u16> = whole.map(|(tuple, _)| tuple.source_port()).collect();
    ports.sort_unstable();
    assert_eq!(all.len(), 2 * ports.len(), "half of a flow");
    ports
}

#[test]
fn a_flow_takes_the_port_of_one_that_is_over() {
    let mut tables = serving(IPV4, 3);
    for client in 0..3 {
        begun(&tables, IPV4, 4000 + client);
    }
    wait(&mut tables, timeout::TCP_UNANSWERED - 2);
    sent(&tables, &asked(IPV4, TCP, &tcp(4001, 80, ACK)));
    assert_eq!(run(&tables, &syn(5000)).0, Verdict::NatPortsExhausted);
    wait(&mut tables, 3);
    sent(&tables, &syn(5000));
    sent(&tables, &syn(5001));
    assert_eq!(run(&tables, &syn(5002)).0, Verdict::NatPortsExhausted);
    assert_eq!(clients(&tables), [4001, 5000, 5001]);
}

#[test]
fn every_kind_of_flow_gives_its_port_up_in_its_own_time() {
    let segment = |flags: u8| asked(IPV4, TCP, &tcp(4000, 80, flags));
    let back = |flags: u8| answered(IPV4, TCP, &tcp(OTHER, 5000, flags));
    let open = vec![segment(SYN), back(SYN | ACK), segment(ACK), back(ACK)];
    let with = |more: &[Vec<u8>]| [&open[..], more].concat();
    for (story, seconds) in [
        (open.clone(), timeout::TCP_ESTABLISHED),
        (with(&[segment(FIN | ACK)]), timeout::TCP_TRANSITORY),
        (with(&[segment(FIN | ACK), back(FIN | ACK)]), timeout::TCP_CLOSED),
        (with(&[back(RST)]), timeout::TCP_RESET),
    ] {
        let mut tables = serving(IPV4, 1);
        story.iter().for_each(|bytes| drop(sent(&tables, bytes)));
        wait(&mut tables, seconds - 2);
        assert_eq!(run(&tables, &syn(4001)).0, Verdict::NatPortsExhausted, "{seconds}");
        wait(&mut tables, 2);
        sent(&tables, &syn(4001));
        assert_eq!(clients(&tables), [4001], "{seconds}");
    }
}

#[test]
fn a_flow_takes_the_place_of_one_that_is_over_in_a_full_table() {
    let mut tables = serving(IPV4, 20);
    tables.translations = Translations::new(6);
    for client in 0..3 {
        begun(&tables, IPV4, 4000 + client);
    }
    assert_eq!(run(&tables, &syn(5000)).0, Verdict::NatTableFull);
    wait(&mut tables, timeout::TCP_UNANSWERED);
    for client in 0..3 {
        begun(&tables, IPV4, 5000 + client);
    }
    assert_eq!(clients(&tables), [5000, 5001, 5002]);
}

/// Another processor may be about to add the other half.
#[test]
fn half_of_a_flow_keeps_its_port_for_a_moment_only() {
    let mut tables = serving(IPV4, 1);
    begun(&tables, IPV4, 4000);
    tables.translations.remove(&half(&tables, false));
    assert_eq!(run(&tables, &syn(4001)).0, Verdict::NatPortsExhausted);
    wait(&mut tables, timeout::SHORTEST);
    sent(&tables, &syn(4001));
    assert_eq!(clients(&tables), [4001]);
}

/// The key of one of the only flow's entries.
fn half(tables: &HostTables, is_answer: bool) -> Tuple {
    let all = tables.translations.all();
    let found = all.iter().find(|(tuple, _)| tuple.is_answer() == is_answer);
    found.expect("the flow has both entries").0
}

#[test]
fn a_connection_whose_answers_are_not_known_begins_anew_by_a_syn_alone() {
    let mut tables = serving(IPV4, 3);
    begun(&tables, IPV4, 4000);
    tables.translations.remove(&half(&tables, true));
    wait(&mut tables, 2);
    let ack = asked(IPV4, TCP, &tcp(4000, 80, ACK));
    assert_eq!(run(&tables, &ack).0, Verdict::NatUnknownFlow);
    sent(&tables, &syn(4000));
    assert_eq!(clients(&tables), [4000]);
    sent(&tables, &ack);
}

#[test]
fn a_syn_finds_out_at_once_that_answers_are_not_known() {
    let tables = serving(IPV4, 3);
    begun(&tables, IPV4, 4000);
    tables.translations.remove(&half(&tables, true));
    sent(&tables, &syn(4000));
    assert_eq!(clients(&tables), [4000]);
}

#[test]
fn a_datagram_whose_answers_are_not_known_begins_its_flow_anew() {
    let mut tables = serving(IPV4, 3);
    let question = asked(IPV4, UDP, &udp(4000, 53, b"?"));
    sent(&tables, &question);
    tables.translations.remove(&half(&tables, true));
    wait(&mut tables, 2);
    sent(&tables, &question);
    assert_eq!(clients(&tables), [4000]);
}
