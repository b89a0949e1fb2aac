//! The addresses of this machine.

use std::{collections::BTreeSet, io, net::IpAddr};

use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::MulticastGroup;
use tokio::sync::mpsc;

use super::{follow::Follower, requests::Requests};

/// The addresses of all interfaces of this machine, with loopback and link-local ones.
///
/// Must be called in a runtime.
pub async fn local_addresses() -> io::Result<BTreeSet<IpAddr>> {
    read(&Requests::open()?).await
}

/// The addresses of all interfaces now, and again after each change.
///
/// Ends when the receiver is dropped. Must be called in a runtime.
pub fn watch_local_addresses() -> io::Result<mpsc::Receiver<BTreeSet<IpAddr>>> {
    let follower = Follower::open(&[MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr])?;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        tokio::select! {
            () = run(follower, &sender) => {}
            () = sender.closed() => {}
        }
    });
    Ok(receiver)
}

async fn run(mut follower: Follower, sets: &mpsc::Sender<BTreeSet<IpAddr>>) {
    let mut sent = None;
    loop {
        match read(&follower.requests).await {
            Ok(set) if sent.as_ref() == Some(&set) => follower.changed().await,
            Ok(set) => {
                if sets.send(set.clone()).await.is_err() {
                    return;
                }
                sent = Some(set);
                follower.changed().await;
            }
            Err(error) => follower.failed(&error).await,
        }
    }
}

async fn read(requests: &Requests) -> io::Result<BTreeSet<IpAddr>> {
    let messages = requests.addresses().await?;
    Ok(messages.iter().filter_map(own_address).collect())
}

/// On a point-to-point interface `Address` is the other end's, and only `Local` is ours.
fn own_address(message: &AddressMessage) -> Option<IpAddr> {
    let mut own = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => return Some(*address),
            AddressAttribute::Address(address) => own = Some(*address),
            _ => {}
        }
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(attributes: Vec<AddressAttribute>) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.attributes = attributes;
        message
    }

    #[test]
    fn finds_our_end() {
        let ours: IpAddr = [10, 0, 0, 1].into();
        let theirs: IpAddr = [10, 0, 0, 2].into();
        let (address, local) = (AddressAttribute::Address, AddressAttribute::Local);
        for (attributes, expected) in [
            (vec![address(theirs), local(ours)], Some(ours)),
            (vec![local(ours), address(theirs)], Some(ours)),
            (vec![address(ours)], Some(ours)),
            (vec![], None),
        ] {
            assert_eq!(own_address(&message(attributes)), expected);
        }
    }
}
