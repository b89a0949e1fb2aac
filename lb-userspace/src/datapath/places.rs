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

/// How many places are looked at before a table counts as full. At the quarter load that the daemon
/// keeps, chains are a few moves long.
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

    #[test]
    fn a_table_fills_to_its_quarter_and_every_service_is_in_one_of_its_places() {
        let hash_key = HashKey::derive(b"places");
        let mask = 4095;
        let mut table: Vec<Option<ServiceKey>> = vec![None; 4096];
        for number in 0..1024 {
            let address = IpAddr::from(Ipv4Addr::from(0x0ac8_0000 + number / 7));
            let key = ServiceKey::new(address.into(), 80 + (number % 7) as u16, 6);
            let path = find(&key, &hash_key, mask, |place| table[place as usize]).expect("room");
            for (from, to) in path.moves {
                assert_eq!(table[to as usize], None);
                table[to as usize] = table[from as usize].take();
            }
            assert_eq!(table[path.place as usize].replace(key), None);
        }
        for (place, key) in table.iter().enumerate() {
            let Some(key) = key else { continue };
            assert!(hash::places(key.hash(&hash_key), mask).contains(&(place as u32)));
        }
        assert_eq!(table.iter().flatten().count(), 1024);
    }
}
