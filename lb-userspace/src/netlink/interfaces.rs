//! Interfaces that come and go.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use rtnetlink::MulticastGroup;
use tokio::sync::mpsc;

use super::{follow::Follower, interface::Interface, requests::Requests};

/// An interface came, went or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterfaceEvent {
    /// It is there: since before the watch began, or newly made.
    Appeared(Interface),
    /// It is not there any more, or not under this name.
    Vanished {
        /// Its name.
        name: String,
        /// The index that it had.
        index: u32,
    },
    /// It is the same one, with another MTU, hardware address, state or XDP program.
    Changed(Interface),
}

/// Watches interfaces by their names, whether they are there or not.
///
/// Begins with [`InterfaceEvent::Appeared`] for each that is there. One that was removed and made
/// again between two looks leads to `Vanished` and `Appeared`. Ends when the receiver is dropped.
/// Must be called in a runtime.
pub fn watch_interfaces(names: BTreeSet<String>) -> io::Result<mpsc::Receiver<InterfaceEvent>> {
    let follower = Follower::open(&[MulticastGroup::Link])?;
    let (sender, receiver) = mpsc::channel(names.len().max(1));
    tokio::spawn(async move {
        tokio::select! {
            () = run(follower, &names, &sender) => {}
            () = sender.closed() => {}
        }
    });
    Ok(receiver)
}

/// Interfaces by their names.
type Found = BTreeMap<String, Interface>;

async fn run(
    mut follower: Follower,
    names: &BTreeSet<String>,
    events: &mpsc::Sender<InterfaceEvent>,
) {
    let mut known = Found::new();
    loop {
        match read(&follower.requests, names).await {
            Ok(found) => {
                for event in changes(&known, &found) {
                    if events.send(event).await.is_err() {
                        return;
                    }
                }
                known = found;
                follower.changed().await;
            }
            Err(error) => follower.failed(&error).await,
        }
    }
}

async fn read(requests: &Requests, names: &BTreeSet<String>) -> io::Result<Found> {
    let mut found = Found::new();
    for name in names {
        if let Some(interface) = requests.interface_named(name).await? {
            found.insert(name.clone(), interface);
        }
    }
    Ok(found)
}

/// What happened between two looks.
fn changes(before: &Found, after: &Found) -> Vec<InterfaceEvent> {
    let same = |former: &Interface| {
        after.get(&former.name).filter(|interface| interface.index == former.index)
    };
    let mut events = Vec::new();
    for former in before.values() {
        match same(former) {
            None => events
                .push(InterfaceEvent::Vanished { name: former.name.clone(), index: former.index }),
            Some(interface) if interface != former => {
                events.push(InterfaceEvent::Changed(interface.clone()));
            }
            Some(_) => {}
        }
    }
    let is_new = |interface: &&Interface| {
        before.get(&interface.name).is_none_or(|former| former.index != interface.index)
    };
    events.extend(after.values().filter(is_new).cloned().map(InterfaceEvent::Appeared));
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::interface::tests::eth0;

    fn found(interfaces: &[Interface]) -> Found {
        interfaces.iter().map(|interface| (interface.name.clone(), interface.clone())).collect()
    }

    #[test]
    fn tells_what_happened() {
        let wider = Interface { mtu: 9000, ..eth0() };
        let remade = Interface { index: 8, ..eth0() };
        let vanished = InterfaceEvent::Vanished { name: "eth0".into(), index: 7 };
        for (before, after, expected) in [
            (vec![], vec![eth0()], vec![InterfaceEvent::Appeared(eth0())]),
            (vec![eth0()], vec![eth0()], vec![]),
            (vec![eth0()], vec![], vec![vanished.clone()]),
            (vec![eth0()], vec![wider.clone()], vec![InterfaceEvent::Changed(wider)]),
            (vec![eth0()], vec![remade.clone()], vec![vanished, InterfaceEvent::Appeared(remade)]),
        ] {
            assert_eq!(changes(&found(&before), &found(&after)), expected);
        }
    }
}
