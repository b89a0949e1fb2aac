//! Ways that were found lately: to find one takes some sockets, and thousands of checks ask each
//! second.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::exits::Exit;
use crate::health::Steer;

/// A way: the address to come from, and what sockets need.
pub(super) type Way = (IpAddr, Arc<dyn Steer>);

/// For so long a change of addresses or routes may go unnoticed.
const FRESH: Duration = Duration::from_secs(5);

/// Ways that were found lately, by the tunnel and the service's address.
#[derive(Debug, Default)]
pub(super) struct Ways(Mutex<HashMap<(Exit, IpAddr), (Instant, Way)>>);

impl Ways {
    /// The way that was found less than five seconds before `now`, or else `find` finds it.
    pub(super) fn find_at<E>(
        &self,
        now: Instant,
        exit: Exit,
        vip: IpAddr,
        find: impl FnOnce() -> Result<Way, E>,
    ) -> Result<Way, E> {
        let is_fresh = |found: &Instant| now.saturating_duration_since(*found) < FRESH;
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((found, way)) = lock().get(&(exit, vip))
            && is_fresh(found)
        {
            return Ok(way.clone());
        }
        let way = find()?;
        let mut ways = lock();
        // Those of backends that are gone go before the map would grow.
        if ways.len() == ways.capacity() {
            ways.retain(|_, (found, _)| is_fresh(found));
        }
        ways.insert((exit, vip), (now, way.clone()));
        Ok(way)
    }

    /// Has all be found anew.
    pub(super) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use std::{io, os::fd::BorrowedFd};

    use super::*;
    use crate::health::{CheckFlow, tunnel::exits::Kind};

    #[derive(Debug)]
    struct Nowhere;

    impl Steer for Nowhere {
        fn steer(&self, _: BorrowedFd<'_>, _: &CheckFlow) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    fn way(last: u8) -> Way {
        ([10, 0, 0, last].into(), Arc::new(Nowhere))
    }

    fn exit(last: u8, kind: Kind) -> Exit {
        Exit { backend: [10, 0, 1, last].into(), kind }
    }

    #[test]
    fn a_way_is_found_again_after_a_while() {
        let ways = Ways::default();
        let begin = Instant::now();
        let vip: IpAddr = [192, 0, 2, 1].into();
        let find = |after, exit, vip, found: Result<u8, &'static str>| {
            let way =
                ways.find_at(begin + Duration::from_millis(after), exit, vip, || found.map(way));
            way.map(|(source, _)| source)
        };
        let (one, other) = (exit(1, Kind::Ipip), [192, 0, 2, 2].into());
        let source = |last: u8| Ok([10, 0, 0, last].into());
        assert_eq!(find(0, one, vip, Err("none")), Err("none"));
        assert_eq!(find(0, one, vip, Ok(1)), source(1));
        assert_eq!(find(4_999, one, vip, Ok(2)), source(1));
        assert_eq!(find(0, one, other, Ok(3)), source(3));
        assert_eq!(find(0, exit(1, Kind::Gue), vip, Ok(4)), source(4));
        assert_eq!(find(0, exit(2, Kind::Ipip), vip, Ok(5)), source(5));
        assert_eq!(find(5_000, one, vip, Err("gone")), Err("gone"));
        assert_eq!(find(5_000, one, vip, Ok(6)), source(6));
        ways.forget();
        assert_eq!(find(5_001, one, vip, Ok(7)), source(7));
    }

    #[test]
    fn ways_of_backends_that_are_gone_take_no_room() {
        let ways = Ways::default();
        let begin = Instant::now();
        for second in 0..100_u64 {
            for last in 0..10 {
                let vip = IpAddr::from([192, 0, second as u8, last]);
                let now = begin + Duration::from_secs(second);
                let found = ways.find_at(now, exit(1, Kind::Gue), vip, || Ok::<_, ()>(way(1)));
                found.expect("found");
            }
        }
        let held = ways.0.lock().expect("nobody panics").len();
        assert!(held <= 130, "{held} ways, of which 50 were found lately");
    }
}
