//! What a change would move, before it is made.

use super::*;
use crate::datapath::desired::DesiredPing;

#[test]
fn what_stays_as_it_is_moves_nothing() {
    let tables = tables();
    let three = service(1, &[(11, 100, STAY), (12, 50, STAY), (13, 0, Flows::Keep)]);
    let nobody = service(1, &[(11, 0, Flows::Keep)]);
    let large = DesiredService { table_slots: Some(1 << 14), ..three.clone() };
    for (desired, slots) in [(three, 1 << selection::size_bits(3)), (nobody, 0), (large, 1 << 14)] {
        let said = tables.preview(&desired, &desired);
        assert_eq!(said, Movement { slots, moved: 0, least: 0 });
        // As it is found by making both tables.
        let other = DesiredService { ping: Some(DesiredPing::Pass), ..desired.clone() };
        assert_eq!(tables.preview(&desired, &other), said);
    }
}
