//! Where services stand in `SERVICES`: each in one of two places, found by cuckoo hashing (Pagh and
//! Rodler 2004).

use std::collections::{BTreeSet, VecDeque};

use lb_common::{HashKey, ServiceKey, hash};

/// A chain of moves that frees a place: each service goes from the first to the second place, the
/// last one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// The place that becomes free.
    pub(super) place: u32,
    /// Moves in the order in which they are made.
    pub(super) moves: Vec<(u32, u32)>,
}

/// How many places are looked at before a table counts as full. At the load that the daemon keeps,
/// three sixteenths at most, chains are a few moves long.
const SEARCH: usize = 1000;

/// Finds a place for `key` in a table of `mask + 1`; `at` tells which service stands in a place.
pub(super) fn find(
    key: &ServiceKey,
    hash_key: &HashKey,
    mask: u32,
    at: impl Fn(u32) -> Option<ServiceKey>,
) -> Option<Path> {
    let places = |key: &ServiceKey| hash::places(key.hash(hash_key), mask);
    let mut queue: VecDeque<Path> =
        places(key).into_iter().map(|place| Path { place, moves: Vec::new() }).collect();
    let mut seen: BTreeSet<u32> = queue.iter().map(|path| path.place).collect();
    while let Some(path) = queue.pop_front() {
        // `place` is the last place of the chain here; the chain is turned round on return.
        let Some(occupant) = at(path.place) else {
            return Some(reversed(path));
        };
        for next in places(&occupant) {
            if seen.len() < SEARCH && seen.insert(next) {
                let mut moves = path.moves.clone();
                moves.push((path.place, next));
                queue.push_back(Path { place: next, moves });
            }
        }
    }
    None
}

fn reversed(mut path: Path) -> Path {
    path.moves.reverse();
    let place = path.moves.last().map_or(path.place, |(from, _)| *from);
    Path { place, moves: path.moves }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    /// Services with an address of their own each, of which two things are known.
    fn keys() -> impl Iterator<Item = ServiceKey> {
        (0..SIZE / 16).flat_map(|number| {
            let address = IpAddr::from(Ipv4Addr::from(0x0ac8_0000 + number));
            let key = |port, protocol| ServiceKey::new(address.into(), port, protocol);
            [key(80, 6), key(0, 6).of_address(), key(0, 1).of_address()]
        })
    }

    const SIZE: u32 = 4096;

    #[test]
    fn all_that_services_need_fits_and_is_in_one_of_its_places() {
        for secret in 0..20_u8 {
            let hash_key = HashKey::derive(&[secret]);
            let mut table: Vec<Option<ServiceKey>> = vec![None; SIZE as usize];
            for key in keys() {
                let at = |place: u32| table[place as usize];
                let path = find(&key, &hash_key, SIZE - 1, at).expect("room");
                for (from, to) in path.moves {
                    assert_eq!(table[to as usize], None);
                    table[to as usize] = table[from as usize].take();
                }
                assert_eq!(table[path.place as usize].replace(key), None);
            }
            for (place, key) in table.iter().enumerate() {
                let Some(key) = key else { continue };
                let places = hash::places(key.hash(&hash_key), SIZE - 1);
                assert!(places.contains(&(place as u32)));
            }
            assert_eq!(table.iter().flatten().count(), keys().count());
        }
    }
}
